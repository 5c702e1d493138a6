"""Episodes to look at: what is done in them, and what the memory held at each step."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.types import Key
from peg_jax.curiosity import acting, reachability, watching
from peg_jax.curiosity.config import CuriosityConfig, OracleConfig, PPOConfig
from peg_jax.curiosity.intrinsic import Appraisal, grid_oracle
from peg_jax.curiosity.reachability_config import BonusConfig, MemoryConfig, ReachabilityConfig
from peg_jax.curiosity.rollout import Collector
from peg_jax.curiosity.task import make_task
from peg_jax.curiosity.watching import Episodes
from tests.curiosity.corridor import LENGTH, STEPS, Params, SeenCorridor
from tests.curiosity.small import CONFIG

CAPACITY, ENVS = 6, 3
ORACLE = OracleConfig(cell=1.0, norm=1.0)
TASK = make_task(SeenCorridor(), Params(), ORACLE)
NUMBERS = ReachabilityConfig(
    network=CONFIG, memory=MemoryConfig(capacity=CAPACITY, replacement="fifo"), bonus=BonusConfig(threshold=2.0)
)
CURIOUS = CuriosityConfig(ppo=PPOConfig(num_envs=ENVS), oracle=ORACLE, reachability=NUMBERS)


@jax.jit
def watch(key: Key) -> tuple[Episodes, Appraisal, Appraisal]:
    """To the right throughout, appraised by an untrained network that remembers everything, and by the oracle."""
    episodes = watching.play(TASK, acting.always(jnp.int32(1)), TASK.params, ENVS, STEPS + 3, key)
    bonus, oracle = reachability.bonus_before(TASK, CURIOUS), grid_oracle(TASK, CURIOUS)
    state = bonus.init(key, Collector(episodes.taken.obs[0], _first(episodes), None, None, None))  # type: ignore[arg-type]
    curious = bonus.appraise(state, episodes.taken, episodes.frames, key)
    return episodes, curious, oracle.appraise(None, episodes.taken, episodes.frames, key)


def _first(episodes: Episodes) -> Any:
    return jax.tree.map(lambda x: x[0], episodes.states)


@pytest.fixture(scope="module")
def watched() -> tuple[Episodes, Appraisal, Appraisal]:
    return watch(jax.random.key(0))


def test_what_is_done_is_done_until_the_episode_ends(watched: tuple[Episodes, Appraisal, Appraisal]) -> None:
    episodes = watched[0]
    place = np.asarray(episodes.position)[..., 0] - 0.5
    np.testing.assert_array_equal(place, np.minimum(place[0] + np.arange(STEPS + 4)[:, None], LENGTH - 1))
    np.testing.assert_array_equal(episodes.alive.sum(axis=0), [STEPS] * ENVS)
    shade = np.asarray(episodes.frames)[:, :, 0, 0, 0]
    np.testing.assert_array_equal(shade, 20 * place)
    drawn = acting.at_random(TASK)(jnp.zeros((200, LENGTH)), jax.random.key(1))
    assert 60 < int(drawn.sum()) < 140


def test_the_oracle_pays_for_each_new_cell(watched: tuple[Episodes, Appraisal, Appraisal]) -> None:
    """The cell of the start counts where the first step leads into it, as in training; here none does."""
    place = np.asarray(watched[0].position)[..., 0]
    np.testing.assert_array_equal(watched[2].bonus, np.diff(place, axis=0) > 0)
    assert watched[2].similarity is None and watched[2].remembered is None


def test_the_memory_is_told_by_the_steps_that_it_holds(watched: tuple[Episodes, Appraisal, Appraisal]) -> None:
    """It holds the first view, then the latest; those that make way are the oldest."""
    _, curious, _ = watched
    assert curious.remembered is not None and curious.similarity is not None
    held = np.asarray(curious.remembered)
    for step in (0, 3, 4, 9):
        expected = range(max(-1, step - CAPACITY + 1), step + 1)
        for env in range(ENVS):
            assert sorted(held[step, env]) == sorted([*expected, *[-2] * (CAPACITY - len(expected))])
    alive = np.asarray(watched[0].alive & ~watched[0].taken.done)
    np.testing.assert_allclose(curious.bonus[alive], 0.5 - curious.similarity[alive], rtol=1e-5)
    assert (np.asarray(curious.bonus)[STEPS - 1] == 0).all()


def test_maps_show_what_was_visited_by_then_and_what_is_remembered() -> None:
    class Mapped(SeenCorridor):
        """Its map is a row of pixels: 1 for a place visited, 2 for one remembered."""

        def render(self, state: Any, track: Any = None, marks: Any = None) -> jax.Array:
            row = jnp.zeros((1, LENGTH, 3), jnp.uint8)
            for places, value in ((track, 1), (marks, 2)):
                if places is not None:
                    at = jnp.where(jnp.isfinite(places[:, 0]), places[:, 0], LENGTH + 1).astype(jnp.int32)
                    row = row.at[0, at].set(value, mode="drop")
            return row

    task = make_task(Mapped(), Params(), ORACLE)
    episodes = jax.jit(partial(watching.play, task, acting.always(jnp.int32(1)), task.params, ENVS, STEPS))(
        key=jax.random.key(0)
    )
    remembered = jnp.full((STEPS, ENVS, CAPACITY), -2, jnp.int32).at[3:, :, 0].set(-1).at[3:, :, 1].set(2)
    maps = np.asarray(watching.draw_maps(task, episodes, 1, np.array([0, 3]), remembered))[:, 0, :, 0]
    start = int(episodes.position[0, 1, 0])
    expected = np.zeros((2, LENGTH), int)
    expected[0, start : start + 2] = 1
    expected[1, start : start + 5] = 1
    expected[1, [start, start + 3]] = 2
    np.testing.assert_array_equal(maps, expected)
    plain = np.asarray(watching.draw_maps(task, episodes, 1, np.array([3]), None))[:, 0, :, 0]
    np.testing.assert_array_equal(plain, [expected[1].clip(max=1)])
