"""Discrete actions and categorical latents, together, through a rollout and a full update (trap T1)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.replay import Episode
from peg_jax.core.types import Metrics
from peg_jax.peg import agent, rollout
from peg_jax.peg.agent import AgentState
from tests.peg import tiny

CONFIG = tiny.config(tiny.replace(tiny.agent_config(), "world_model.classes", 3))
TASK, SPEC = tiny.make_dot(discrete=True), tiny.spec(discrete=True)


@pytest.fixture(scope="module")
def state() -> AgentState:
    return jax.jit(lambda key: agent.init(CONFIG.agent, SPEC, key))(jax.random.key(0))


@pytest.fixture(scope="module")
def episode(state: AgentState) -> Episode:
    @jax.jit
    def run(key: jax.Array) -> Episode:
        obs, env_state = rollout.reset(TASK, 50, key)
        goal = jnp.ones((50, tiny.SIZE))
        start = rollout.begin(TASK, CONFIG.agent, obs, env_state, goal)
        _, records = rollout.advance(TASK, CONFIG, state, start, TASK.episode_steps, key)
        return rollout.assemble(obs, records, goal)

    return run(jax.random.key(1))


@pytest.fixture(scope="module")
def updated(state: AgentState, episode: Episode) -> tuple[AgentState, Metrics]:
    batch = jax.tree.map(lambda x: jnp.swapaxes(x[:3, :4], 0, 1)[None], episode)
    update = jax.jit(lambda *args: agent.update(CONFIG.agent, SPEC, *args))
    return update(state, batch, jax.random.key(2))


def test_actions_are_one_hot_and_move_the_environment(episode: Episode) -> None:
    actions = np.asarray(episode.action[:, 1:])
    np.testing.assert_allclose(np.sort(actions, axis=-1), np.broadcast_to([0.0, 0.0, 1.0], actions.shape), atol=1e-6)
    moves = actions @ np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(episode.obs[:, 1:] - episode.obs[:, :-1], 0.1 * moves, atol=1e-5)
    assert (actions.reshape(-1, 3).sum(axis=0) > 0).all()


def test_the_update_is_finite_and_skips_nothing(updated: tuple[AgentState, Metrics]) -> None:
    _, metrics = updated
    bad = {name: float(value) for name, value in metrics.items() if not np.isfinite(value)}
    assert not bad
    assert float(metrics["skipped_updates"]) == 0.0
    assert all(float(value) > 0 for name, value in metrics.items() if name.endswith("grad_norm"))


def test_reinforce_moves_both_policies(state: AgentState, updated: tuple[AgentState, Metrics]) -> None:
    def moved(before: Any, after: Any) -> bool:
        return any(jax.tree.leaves(jax.tree.map(lambda a, b: float(abs(a - b).max()) > 1e-6, before, after)))

    after, _ = updated
    assert moved(state.achiever.actor.params, after.achiever.actor.params)
    assert moved(state.explorer.actor.params, after.explorer.actor.params)


def test_random_actions_are_uniform_over_the_choices() -> None:
    episode = jax.jit(lambda key: rollout.random_episodes(TASK, 500, key))(jax.random.key(0))
    counts = np.asarray(episode.action[:, 1:]).reshape(-1, 3)
    np.testing.assert_array_equal(counts.sum(axis=-1), 1.0)
    np.testing.assert_allclose(counts.mean(axis=0), 1 / 3, atol=5 * 0.47 / 3000**0.5)
