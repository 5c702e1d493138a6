"""PEG on a body by C MuJoCo: seeds in one program, whose callback is mapped, scanned and differentiated around."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from peg_jax.core.environment import make_task
from peg_jax.peg import training
from peg_jax.peg.config import PlannerConfig
from peg_jax.peg.training import SEED_AXES
from tests.peg import tiny

STEPS, SEEDS = 6, 2


@pytest.mark.slow
def test_seeds_train_on_a_body_in_one_program():
    env, params = envs.make("walker", physics="mujoco")
    task = make_task(env, params.replace(max_steps_in_episode=STEPS))
    config = tiny.config(planner=PlannerConfig(candidates=4, iterations=2, horizon=4, final_steps=2))
    keys = jax.random.split(jax.random.key(0), SEEDS)

    def init(key):
        return training.init(task, config, "peg", key)

    def epoch(state):
        return training.epoch(task, config, "peg", state, cycles=2)

    state = jax.jit(jax.vmap(init, out_axes=SEED_AXES))(keys)
    trained, log = jax.jit(jax.vmap(epoch, in_axes=(SEED_AXES,), out_axes=(SEED_AXES, 0)))(state)
    assert int(trained.progress.env_steps) == (4 + 2 * 2) * STEPS and int(trained.progress.updates) > 2
    assert all(np.isfinite(value).all() for value in jax.tree.leaves(log.metrics))

    obs = np.asarray(trained.seed.replay.experience.obs[:, :, :4])  # [seeds, environments, episodes, records, D]
    assert np.isfinite(obs).all() and np.abs(np.diff(obs, axis=3)).max(axis=(3, 4)).min() > 1e-3
    starts = obs[..., 0, :].reshape(-1, task.obs_size)
    assert len(np.unique(starts, axis=0)) == len(starts)  # each episode of each seed begins at a pose of its own
    weights = [jax.tree.leaves(s.seed.agent.achiever.actor.params)[0] for s in (state, trained)]
    assert all(jnp.any(before != after) for before, after in zip(*weights, strict=True))
