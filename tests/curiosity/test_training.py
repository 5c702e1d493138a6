"""The training loop: what it computes, that it can be cut and mapped, and that it learns."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.optim import Learner
from peg_jax.curiosity import acting, evaluation, training
from peg_jax.curiosity.config import RewardConfig
from peg_jax.curiosity.training import SEED_AXES, SeedState, TrainState
from tests.curiosity.corridor import LENGTH, STEPS, corridor

TASK, CONFIG = corridor()
INIT = partial(training.init, TASK, CONFIG, "ppo")


@partial(jax.jit, static_argnames=("method", "updates", "seeds"))
def train(config: Any, state: TrainState, method: str = "ppo", updates: int = 4, seeds: bool = False) -> tuple:
    def run(state: TrainState) -> tuple:
        return training.epoch(TASK, config, method, 100, state, updates)

    return jax.vmap(run, (SEED_AXES,), (SEED_AXES, 0))(state) if seeds else run(state)


def plain(tree: Any) -> list[np.ndarray]:
    def data(x: jax.Array) -> np.ndarray:
        return np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)

    return [data(x) for x in jax.tree.leaves(tree)]


def test_a_run_cut_in_two_ends_in_the_same_bits() -> None:
    start = INIT(jax.random.key(3))
    whole, _ = train(CONFIG, start, updates=8)
    half, _ = train(CONFIG, start)
    again, _ = train(CONFIG, half)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(plain(whole), plain(again), strict=True))
    assert (int(whole.progress.updates), int(whole.progress.env_steps)) == (8, 8 * 8 * 24)


def test_seeds_in_one_program_are_the_solo_runs() -> None:
    keys = jnp.stack([jax.random.key(seed) for seed in (0, 1)])
    together, metrics = train(CONFIG, jax.vmap(INIT, out_axes=SEED_AXES)(keys), seeds=True)
    assert metrics["policy_loss"].shape == (2, 4)
    for index in range(2):
        solo, _ = train(CONFIG, INIT(keys[index]))
        mine = jax.tree.map(lambda x, index=index: x[index], together.seed)
        for a, b in zip(plain(mine), plain(solo.seed), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert not np.array_equal(metrics["policy_loss"][0], metrics["policy_loss"][1])


def test_a_seed_with_bad_numbers_is_left_alone_and_the_others_are_not() -> None:
    """Its parameters are not numbers: all minibatches of one update are skipped, and with a limit of 1 no more come."""
    keys = jnp.stack([jax.random.key(seed) for seed in (0, 1)])
    start = jax.vmap(INIT, out_axes=SEED_AXES)(keys)
    learner = start.seed.learner
    params = jax.tree.map(lambda x: x.at[0].set(jnp.nan), learner.params)
    hurt = dataclasses.replace(
        start, seed=dataclasses.replace(start.seed, learner=dataclasses.replace(learner, params=params))
    )
    config = dataclasses.replace(CONFIG, ppo=dataclasses.replace(CONFIG.ppo, bad_updates=1))
    after, _ = train(config, hurt, seeds=True)
    healthy, _ = train(config, start, seeds=True)
    assert after.seed.bad_updates.tolist() == [1, 0]
    assert after.seed.learner.skipped.tolist() == [config.ppo.epochs * config.ppo.minibatches, 0]
    for one, other in zip(plain(after.seed), plain(healthy.seed), strict=True):
        np.testing.assert_array_equal(one[1], other[1])
    assert (plain(healthy.seed.learner.params)[0][0] != plain(learner.params)[0][0]).any()


def test_a_bonus_whose_network_goes_bad_counts_like_ppo() -> None:
    learner = Learner(jnp.zeros(2), (), jnp.int32(0))
    seed = SeedState(None, learner, None, None, jnp.int32(0))  # type: ignore[arg-type]
    config = dataclasses.replace(CONFIG, ppo=dataclasses.replace(CONFIG.ppo, bad_updates=3))
    learnt = dataclasses.replace(learner, params=jnp.ones(2))
    going = training.guard(config, seed, learnt, jnp.int32(2))
    assert int(going.bad_updates) == 2 and going.learner.params.tolist() == [1.0, 1.0]
    assert int(training.guard(config, going, learnt, jnp.int32(0)).bad_updates) == 0
    bad = training.guard(config, going, learnt, jnp.int32(3))
    stopped = training.guard(config, bad, learner, jnp.int32(0))
    assert int(stopped.bad_updates) == 3 and stopped.learner.params.tolist() == [1.0, 1.0]


@pytest.fixture(scope="module")
def trained() -> dict[str, tuple]:
    """Runs of 40 updates, by what they were rewarded for."""
    runs = {
        "task": ("ppo", RewardConfig(task=1.0, bonus=0.0)),
        "nothing": ("ppo", RewardConfig(task=0.0, bonus=0.0)),
        "coverage": ("ppo_plus_grid_oracle", RewardConfig(task=0.0, bonus=0.1)),
        "unpaid coverage": ("ppo_plus_grid_oracle", RewardConfig(task=0.0, bonus=0.0)),
    }
    start = INIT(jax.random.key(0))
    return {
        name: train(CONFIG.replace(reward=reward), start, method=method, updates=40)
        for name, (method, reward) in runs.items()
    }


def test_ppo_learns_what_it_is_paid_for_and_nothing_without(trained: dict[str, tuple]) -> None:
    last = {name: {key: float(value[-1]) for key, value in run[1].items()} for name, run in trained.items()}
    assert last["task"]["eprewmean"] > 9  # of at most 13 or 14
    assert last["nothing"]["eprewmean"] < 3
    assert last["coverage"]["coverage"] > 10.5
    assert last["coverage"]["epbonusmean"] == last["coverage"]["coverage"]
    assert last["unpaid coverage"]["coverage"] < 8
    assert last["coverage"]["eplenmean"] == STEPS
    assert last["coverage"]["coverage_share"] == pytest.approx(last["coverage"]["coverage"] / LENGTH)


def test_an_evaluation_is_the_first_episodes_of_the_policy(trained: dict[str, tuple]) -> None:
    apply = training.build_network(TASK, CONFIG)
    play = jax.jit(lambda p, k: evaluation.evaluate(TASK, acting.by_policy(apply, p), TASK.params, 64, STEPS + 5, k)[0])
    good, bad = (play(trained[name][0].seed.learner.params, jax.random.key(1)) for name in ("task", "nothing"))
    assert (good.steps == STEPS).all()
    assert float(good.reward.mean()) > 8 > 4 > float(bad.reward.mean())
    assert float(good.cells.max()) <= LENGTH
    np.testing.assert_allclose(good.share, good.cells / LENGTH, rtol=1e-5)


def test_the_first_episode_counts_no_sooner_than_it_ends() -> None:
    start = INIT(jax.random.key(0))
    assert np.isnan(plain(start.seed.collector.finished)).all()
    after, metrics = train(CONFIG, start)
    assert np.isfinite(metrics["eprewmean"]).all()  # a rollout is an episode long here
    assert (after.seed.collector.running.steps == 0).all()
    assert not after.seed.collector.visited.any()
