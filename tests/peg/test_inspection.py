"""Beliefs for pictures: what is predicted in open loop, and what is not seen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.replay import Episode, latest
from peg_jax.peg import agent as agent_module
from peg_jax.peg import rollout, training
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.inspection import CONTEXT, Inspection, inspect
from tests.peg import tiny

TASK = tiny.make_dot(steps=8)
GOAL = jnp.array([1.0, 0.0])


@pytest.fixture(scope="module")
def parts() -> tuple[PEGConfig, Episode]:
    return tiny.config(), rollout.random_episodes(TASK, 3, jax.random.key(1))


@jax.jit
def beliefs(config: PEGConfig, episodes: Episode) -> Inspection:
    agent = agent_module.init(config.agent, rollout.task_spec(TASK), jax.random.key(0))
    places = jnp.stack([GOAL, -GOAL])
    return inspect(TASK, config, agent, episodes, places, GOAL, jax.random.key(2), sequences=2)


def test_shapes(parts: tuple[PEGConfig, Episode]) -> None:
    seen = beliefs(*parts)
    assert seen.predicted.shape == (2, 9, 2) and seen.value.shape == (3, 9) and seen.steps.shape == (2,)
    assert all(np.isfinite(x).all() for x in seen)


def test_after_the_context_only_actions_count(parts: tuple[PEGConfig, Episode]) -> None:
    config, episodes = parts
    before = beliefs(config, episodes).predicted
    hidden = dataclasses.replace(episodes, obs=episodes.obs.at[:, CONTEXT:].add(1.0))
    np.testing.assert_array_equal(beliefs(config, hidden).predicted, before)
    shown = dataclasses.replace(episodes, obs=episodes.obs.at[:, CONTEXT - 1].add(1.0))
    assert not np.array_equal(beliefs(config, shown).predicted[:, CONTEXT:], before[:, CONTEXT:])
    moved = dataclasses.replace(episodes, action=episodes.action.at[:, CONTEXT + 1].add(1.0))
    after = beliefs(config, moved).predicted
    np.testing.assert_array_equal(after[:, : CONTEXT + 1], before[:, : CONTEXT + 1])
    assert not np.array_equal(after[:, CONTEXT + 1 :], before[:, CONTEXT + 1 :])


def test_the_latest_episodes_come_oldest_first_around_the_ring() -> None:
    replay = training.build_replay(TASK, tiny.config())  # 2 environments, 3 slots
    one = Episode(*(jnp.zeros((9, 2)) for _ in range(3)))
    state = replay.init(one)
    for number in range(5):
        state = replay.insert(state, jax.tree.map(lambda x, n=number: jnp.full((2, *x.shape), float(n)), one))
    np.testing.assert_array_equal(latest(state, 3).obs[:, 0, 0], [2, 2, 3, 3, 4, 4])
