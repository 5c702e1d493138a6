"""The bonus: golden values 3, 4 and 5 of the reference, and a network in the loop."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.types import Array
from peg_jax.curiosity import bonus
from peg_jax.curiosity.bonus import Entry, Judgement, make_entry, settings
from peg_jax.curiosity.memory import Memory, init_memory
from peg_jax.curiosity.r_network import Variables, init_variables, similarity
from peg_jax.curiosity.reachability_config import BonusConfig, MemoryConfig
from peg_jax.curiosity.rollout import reward
from tests.curiosity.small import CONFIG, FRAME, NET

KEY = jax.random.key(0)
MAZE, ANT = settings("sparse"), settings(bonus.ANT)
PLAIN_MEMORY = MemoryConfig(capacity=4)


@pytest.mark.parametrize(
    ("similarity", "raw", "scaled"),
    [
        (0.91, -0.41, -0.0123706897),
        (0.86, -0.36, -0.0108620690),
        (0.2, 0.3, 0.0090517241),
        (0.0, 0.5, 0.0150862069),
    ],
)
def test_bonus_in_the_mazes(similarity: float, raw: float, scaled: float) -> None:
    found = bonus.score(jnp.asarray(similarity), jnp.asarray(False), MAZE.bonus)
    assert float(found) == pytest.approx(raw, abs=1e-6)
    assert float(reward(MAZE.reward, jnp.asarray(0.0), found)) == pytest.approx(scaled, abs=1e-6)
    assert float(bonus.score(jnp.asarray(similarity), jnp.asarray(True), MAZE.bonus)) == 0.0


def test_a_goal_reached_with_a_bonus_on_top() -> None:
    found = bonus.score(jnp.asarray(0.2), jnp.asarray(False), MAZE.bonus)
    assert float(reward(MAZE.reward, jnp.asarray(10.0), found)) == pytest.approx(10.0090517241, abs=1e-6)


def test_bonus_of_the_ant_is_never_negative() -> None:
    for similar, expected in ((0.9, 0.1), (0.0, 1.0), (1.0, 0.0)):
        found = bonus.score(jnp.asarray(similar), jnp.asarray(False), ANT.bonus)
        assert float(reward(ANT.reward, jnp.asarray(3.0), found)) == pytest.approx(expected, abs=1e-6)


def test_numbers_of_the_scenarios() -> None:
    for scenario in bonus.MAZES:
        memory, _, weights = settings(scenario)
        assert (memory.capacity, memory.replacement, memory.aggregation) == (200, "random", "percentile")
        assert (weights.task, weights.bonus) == (1.0, 0.03017241379310345)
    for scenario in bonus.MAZES_WITHOUT_REWARD:
        assert (settings(scenario).reward.task, settings(scenario).reward.bonus) == (0.0, 0.03017241379310345)
        assert settings(scenario).memory.replacement == "random"
        assert settings(scenario, parity=True).memory.replacement == "fifo"
    assert (ANT.memory.capacity, ANT.memory.aggregation, ANT.memory.nth) == (1000, "nth_largest", 10)
    assert (ANT.reward.task, ANT.reward.bonus, ANT.bonus.offset, ANT.bonus.threshold) == (0.0, 1.0, 0.5, 1.0)
    with pytest.raises(KeyError, match="sparse"):
        settings("nowhere")


class Ran(NamedTuple):
    """A walk through 12 frames in 3 environments, of which the middle one's episode ends with step 6."""

    memory: Memory
    judged: Judgement  # leaves [12, 3]; of step 0, the reset, nothing
    threshold: float  # the median of the similarities
    variables: Variables
    frames: Array  # [12, 3, H, W, C]
    entries: Entry  # leaves [12, 3, ...]
    entries_after: Entry  # by another network
    kept: Memory  # after a round of training that led to that network, with parity
    refreshed: Memory  # the same without


DONE = jnp.zeros((12, 3), bool).at[6, 1].set(True)


@jax.jit
def make_entries(variables: Variables, frames: Array) -> Entry:
    steps = jnp.broadcast_to(jnp.arange(12)[:, None], (12, 3))
    return jax.vmap(jax.vmap(lambda frame, step: make_entry(NET, variables, frame, step)))(frames, steps)


@jax.jit
def walk(variables: Variables, entries: Entry, threshold: float) -> tuple[Memory, Judgement]:
    first, others = (jax.tree.map(lambda x, part=part: x[part], entries) for part in (0, slice(1, None)))

    def step(memory: Memory, now: tuple[Entry, Array]) -> tuple[Memory, Judgement]:
        entry, done = now
        key = jax.random.fold_in(KEY, entry.step)
        return bonus.observe(NET, variables, memory, key, entry, done, PLAIN_MEMORY, BonusConfig(threshold=threshold))

    def start(entry: Entry) -> Memory:
        return bonus.start(bonus.empty_memory(NET, PLAIN_MEMORY), KEY, entry, PLAIN_MEMORY)

    return jax.lax.scan(jax.vmap(step), jax.vmap(start)(first), (others, DONE[1:]))


@jax.jit
def refresh(variables: Variables, memory: Memory, frames: Array) -> tuple[Memory, Memory]:
    def both(memory: Memory, env: Array) -> list[Memory]:
        views = frames[memory.entries.step, env]
        return [bonus.refresh(NET, variables, memory, views, parity) for parity in (True, False)]

    return jax.vmap(both)(memory, jnp.arange(3))


@pytest.fixture(scope="module")
def ran() -> Ran:
    init = jax.jit(lambda key: init_variables(NET, key, FRAME))
    variables, other = init(KEY), init(jax.random.key(1))
    frames = jax.random.randint(KEY, (12, 3, *FRAME), 0, 4).astype(jnp.uint8)  # dark: an untrained net is not yet sure
    entries = make_entries(variables, frames)
    threshold = float(np.median(walk(variables, entries, 2.0)[1].similarity))
    memory, judged = walk(variables, entries, threshold)
    judged = jax.tree.map(lambda x: np.concatenate([np.zeros_like(x[:1]), x]), judged)
    after = make_entries(other, frames)
    return Ran(memory, judged, threshold, variables, frames, entries, after, *refresh(other, memory, frames))


def compared(ran: Ran, step: int, with_step: int) -> np.ndarray:
    halves = ran.entries.half[with_step]
    alone = jax.vmap(lambda embedding, half: similarity(NET, ran.variables, embedding, half[None])[0])
    return np.asarray(alone(ran.entries.embedding[step], halves))


def test_the_first_step_is_compared_with_the_reset_observation(ran: Ran) -> None:
    expected = compared(ran, 1, 0)
    np.testing.assert_allclose(ran.judged.similarity[1], expected, rtol=1e-5)
    np.testing.assert_allclose(ran.judged.bonus[1], 0.5 - expected, atol=1e-6)


def test_what_is_remembered_lies_below_the_threshold(ran: Ran) -> None:
    remembered = ran.judged.remembered[1:]
    np.testing.assert_array_equal(remembered, (ran.judged.similarity < ran.threshold)[1:] | DONE[1:])
    assert 0.2 < remembered.mean() < 0.9
    counts = [1 + remembered[:, 0].sum(), remembered[5:, 1].sum(), 1 + remembered[:, 2].sum()]
    np.testing.assert_array_equal(ran.memory.inserted, counts)


def test_an_episodes_end_pays_nothing_and_opens_a_memory_of_one(ran: Ran) -> None:
    assert ran.judged.bonus[6, 1] == 0.0
    assert ran.judged.remembered[6, 1]
    np.testing.assert_allclose(ran.judged.similarity[7, 1], compared(ran, 7, 6)[1], rtol=1e-5)
    assert (ran.memory.entries.step[1][: int(ran.memory.size[1])] >= 6).all()


def test_after_a_round_what_is_remembered_is_embedded_again_or_with_parity_nothing(ran: Ran) -> None:
    steps, envs = ran.memory.entries.step, jnp.arange(3)[:, None]
    new = ran.entries_after.embedding[steps, envs]
    filled = np.asarray(jax.vmap(lambda memory: memory.filled)(ran.memory))
    np.testing.assert_allclose(ran.refreshed.entries.embedding[filled], new[filled], rtol=1e-4)
    assert not np.allclose(ran.memory.entries.embedding[filled], new[filled], rtol=1e-2)
    np.testing.assert_array_equal(ran.kept.entries.embedding, ran.memory.entries.embedding)
    assert not np.allclose(ran.kept.entries.half, ran.memory.entries.half)  # by the new network in either case
    np.testing.assert_array_equal(ran.refreshed.entries.step, steps)


def entry(value: float) -> Entry:
    return Entry(jnp.full(CONFIG.embedding, value), jnp.full(CONFIG.units, value), jnp.asarray(int(value)))


@pytest.mark.parametrize(
    ("similarity", "weights", "inserted"),
    [
        (0.49, MAZE.bonus, True),
        (0.50, MAZE.bonus, False),
        (0.51, MAZE.bonus, False),
        (0.9, ANT.bonus, True),
        (1.0, ANT.bonus, False),
    ],
)
def test_insertion_is_strictly_below_the_threshold(
    similarity: float, weights: BonusConfig, inserted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the network says, the memory as a whole is made as similar as that."""
    monkeypatch.setattr(bonus, "similarity", lambda *_: jnp.zeros(3))
    monkeypatch.setattr(bonus, "aggregate", lambda *_: jnp.float32(similarity))
    memory, done = init_memory(entry(0), 3), jnp.asarray(False)
    after, judged = bonus.observe(NET, {}, memory, KEY, entry(1), done, PLAIN_MEMORY, weights)
    assert int(after.size) == bool(judged.remembered) == inserted


def test_with_parity_an_episode_starts_empty() -> None:
    memory = init_memory(entry(0), 3)
    assert int(bonus.start(memory, KEY, entry(1), PLAIN_MEMORY).size) == 1
    assert int(bonus.start(memory, KEY, entry(1), PLAIN_MEMORY, parity=True).size) == 0


def test_after_done_one_entry_is_left() -> None:
    memory = init_memory(entry(0), 3)
    for value in (1, 2, 3, 4):
        memory = bonus.remember(memory, KEY, entry(value), jnp.asarray(True), jnp.asarray(False), PLAIN_MEMORY)
    after = bonus.remember(memory, KEY, entry(9), jnp.asarray(False), jnp.asarray(True), PLAIN_MEMORY)
    assert int(after.size) == 1
    assert int(after.entries.step[0]) == 9
