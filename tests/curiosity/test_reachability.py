"""EC and ECO as bonuses: when the network learns, what is paid when, and what is remembered."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.types import Array, Key
from peg_jax.curiosity import reachability
from peg_jax.curiosity.config import CuriosityConfig, PPOConfig
from peg_jax.curiosity.intrinsic import Judged
from peg_jax.curiosity.r_network import embed
from peg_jax.curiosity.reachability import ReachabilityState
from peg_jax.curiosity.reachability_config import BonusConfig, MemoryConfig, ReachabilityConfig
from peg_jax.curiosity.rollout import Collector, Rollout
from peg_jax.curiosity.task import Task
from tests.curiosity.small import CONFIG, FRAME, NET, online

ENVS, STEPS, SEEDS = 2, 12, 3
ROUND = 18  # vector steps between two rounds: the first falls into the second rollout
HURT = 2  # the seed whose network is not finite
EVERYTHING = BonusConfig(threshold=2.0)  # is remembered
ONLINE = online(ENVS, STEPS, ROUND)  # so that memories reach back farther than the history
NUMBERS = ReachabilityConfig(network=CONFIG, online=ONLINE, memory=MemoryConfig(capacity=30), bonus=EVERYTHING)
CURIOUS = CuriosityConfig(ppo=PPOConfig(num_envs=ENVS, rollout=STEPS), reachability=NUMBERS)
TASK = Task(env=None, params=None, obs_shape=FRAME, actions=2, discrete=True, grid=None, view=None, frame_shape=FRAME)  # type: ignore[arg-type]


def frames(key: Key) -> Array:
    return jax.random.randint(key, (2 * STEPS + 1, ENVS, *FRAME), 0, 256).astype(jnp.uint8)


def rollout(seen: Array, part: int) -> tuple[Rollout, Collector]:
    """The steps from frame `part * STEPS` on; in the second part an episode of the first environment ends."""
    zeros = jnp.zeros((STEPS, ENVS))
    done = zeros.astype(bool).at[4, 0].set(part == 1)
    obs = jax.lax.dynamic_slice_in_dim(seen, part * STEPS, STEPS + 1)
    never = zeros.astype(bool)
    taken = Rollout(obs[:-1], zeros, zeros, zeros, zeros, done, never, never, zeros, frame=None)
    return taken, Collector(obs[-1], None, None, None, None)  # type: ignore[arg-type]


@partial(jax.jit, static_argnames=("online", "control"))
def run(keys: Key, online: bool = True, control: str = "none") -> list[Any]:
    """The first state and what two rollouts were found to be; all seeds, of which one has a network of NaN."""
    config = dataclasses.replace(CURIOUS, reachability=dataclasses.replace(NUMBERS, control=control))

    def seed(key: Key, hurt: Array) -> tuple[ReachabilityState, Judged, Judged]:
        seen = frames(key)
        bonus = (reachability.bonus_beside if online else reachability.bonus_before)(TASK, config)
        state = bonus.init(key, Collector(seen[0], None, None, None, None))  # type: ignore[arg-type]
        learner = state.network.learner
        params = jax.tree.map(lambda x: jnp.where(hurt, jnp.nan, x), learner.params)
        network = dataclasses.replace(state.network, learner=dataclasses.replace(learner, params=params))
        state = dataclasses.replace(state, network=network)

        def step(state: ReachabilityState, part: Array) -> tuple[ReachabilityState, Judged]:
            judged = bonus.judge(state, *rollout(seen, part), part * STEPS, jax.random.fold_in(key, part))
            return judged.state, judged

        _, judged = jax.lax.scan(step, state, jnp.arange(2))
        first, second = (jax.tree.map(lambda x, i=i: x[i], judged) for i in range(2))
        return state, first, second

    return list(jax.vmap(seed)(keys, jnp.arange(SEEDS) == HURT))


KEYS = jax.random.split(jax.random.key(0), SEEDS)
Ran = tuple[ReachabilityState, Judged, Judged]


@pytest.fixture(scope="module")
def eco() -> Ran:
    return run(KEYS)


def params(state: ReachabilityState, seed: int) -> list[np.ndarray]:
    return [np.asarray(x[seed]) for x in jax.tree.leaves(state.network.learner.params)]


def test_the_network_learns_when_a_round_is_due_and_says_so(eco: Ran) -> None:
    start, first, second = eco
    for seed in (0, 1):
        same = [np.array_equal(a, b) for a, b in zip(params(start, seed), params(first.state, seed), strict=True)]
        assert all(same)
        assert not np.array_equal(params(first.state, seed)[0], params(second.state, seed)[0])
    assert np.isnan(first.metrics["r_loss"]).all() and np.isfinite(second.metrics["r_loss"][:2]).all()
    assert (second.metrics["r_updates"] >= 2).all()
    assert second.state.history.written.tolist() == [2 * STEPS] * SEEDS


def test_nothing_is_paid_before_the_step_of_the_first_round(eco: Ran) -> None:
    _, first, second = eco
    assert (first.bonus == 0).all()
    assert (first.metrics["memory_size"][:2] == 1 + STEPS).all()  # but episodes are remembered from the start
    before = ROUND - STEPS - 1
    assert (second.bonus[:2, :before] == 0).all()
    assert (second.bonus[:2, before:] != 0).all()


def test_the_memory_holds_what_was_seen_as_the_network_sees_it_now(eco: Ran) -> None:
    state, held = eco[2].state, [range(STEPS + 4, 2 * STEPS), range(-1, 2 * STEPS)]  # the first one's episode ended
    for seed in (0, 1):
        variables = jax.tree.map(lambda x, seed=seed: x[seed], state.network.variables)
        embeddings = embed(NET, variables, frames(KEYS[seed]))  # of steps -1, 0, ...
        for env in range(ENVS):
            memory = jax.tree.map(lambda x, at=(seed, env): x[at], state.memory)
            known = np.asarray(memory.filled)
            steps = np.asarray(memory.entries.step)[known]
            assert sorted(steps) == list(held[env])
            np.testing.assert_allclose(
                memory.entries.embedding[known], embeddings[steps + 1, env], rtol=1e-3, atol=1e-3
            )


def test_a_network_that_is_not_finite_learns_nothing_and_is_counted(eco: Ran) -> None:
    bad = eco[2].state.network.bad_updates
    assert bad.tolist() == [0, 0, int(eco[2].metrics["r_updates"][HURT])]
    assert all(np.isnan(leaf).all() for leaf in params(eco[2].state, HURT))


def test_each_seed_is_alone(eco: Ran) -> None:
    turned = run(KEYS[jnp.array([1, 0, 2])])
    np.testing.assert_allclose(turned[2].bonus[1], eco[2].bonus[0], rtol=1e-3, atol=1e-4)
    assert not np.allclose(eco[2].bonus[0], eco[2].bonus[1], atol=1e-3)


def test_an_untrained_network_is_paid_for_alike_and_stays_as_it_was() -> None:
    start, _, second = run(KEYS, control="untrained")
    assert all(np.array_equal(a, b) for a, b in zip(params(start, 0), params(second.state, 0), strict=True))
    assert "r_updates" not in second.metrics
    assert (second.bonus[:2, ROUND - STEPS - 1 :] != 0).any()


def test_with_ec_the_bonus_counts_from_the_first_step_on() -> None:
    start, first, second = run(KEYS, online=False)
    assert (np.abs(first.bonus[:2]) <= 0.5).all() and (first.bonus[:2] != 0).all()
    assert second.bonus[0, 4, 0] == 0  # an episode's end
    assert start.history is None and start.views is None
    assert all(np.array_equal(a, b) for a, b in zip(params(start, 0), params(second.state, 0), strict=True))
