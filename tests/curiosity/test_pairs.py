"""Pairs of frames: golden values 8 and 9 of the reference, and what must never be paired."""

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.types import Array
from peg_jax.curiosity.feistel import shuffled_index
from peg_jax.curiosity.pairs import Pairs, negative_window, sample_pairs, trajectory_bounds
from peg_jax.curiosity.reachability_config import PairConfig

LENGTH = 1000
STRIDED = ("v1", "v2", "v3")
STREAMS = 8


def one_trajectory() -> Array:
    return jnp.zeros(LENGTH, bool).at[0].set(True)


def several() -> Array:
    """Trajectories of 30, 5, 1, 264 and 700 frames."""
    return jnp.zeros(LENGTH, bool).at[jnp.array([0, 30, 35, 36, 300])].set(True)


def repeated(length: int) -> Array:
    """As many trajectories of `length` as fit."""
    return jnp.arange(LENGTH) % length == 0


def draw(mode: str, starts: Array, parity: bool = False, within: int = 5) -> Pairs:
    keys = jax.random.split(jax.random.key(3), STREAMS)
    return jax.tree.map(np.asarray, sampler(mode, parity, within)(keys, starts))


@cache
def sampler(mode: str, parity: bool, within: int) -> Callable[[Array, Array], Pairs]:
    config = PairConfig(mode=mode, within=within, rate=1.0)
    one = partial(sample_pairs, config=config, parity=parity)
    return jax.jit(jax.vmap(one, in_axes=(0, None)))


@pytest.fixture(scope="module")
def drawn() -> dict[str, Pairs]:
    """Eight streams by each mode, of one trajectory and of several."""
    long = {mode: draw(mode, one_trajectory()) for mode in STRIDED}
    short = {f"{mode} several": draw(mode, several()) for mode in STRIDED}
    unique = {"v4": draw("v4", one_trajectory()), "v4 several": draw("v4", several())}
    return long | short | unique


@pytest.mark.parametrize(
    ("anchor", "length", "window", "left"),
    [
        (0, 100, (0, 25), 74),
        (50, 100, (25, 75), 49),
        (99, 100, (74, 99), 74),
        (10, 52, (0, 35), 16),
        (25, 52, (0, 50), 1),
        (25, 53, (0, 50), 2),
        (0, 27, (0, 25), 1),
        (0, 28, (0, 25), 2),
    ],
)
def test_negative_window(anchor: int, length: int, window: tuple[int, int], left: int) -> None:
    lowest, highest, found = negative_window(jnp.asarray(anchor), jnp.asarray(0), jnp.asarray(length), 25)
    assert (int(lowest), int(highest), int(found)) == (*window, left)


def test_a_single_legal_partner_is_enough_unless_parity() -> None:
    """In 27 frames only the first and the last have a negative: each other. The last is seldom an anchor."""
    fixed, original = (draw("v2", repeated(27), parity) for parity in (False, True))
    negative = fixed.valid & (fixed.label == 0)
    assert negative[:, : 27 * 37].sum() > STREAMS * 37 / 4
    distance = np.abs(fixed.current - fixed.other)
    assert set(distance[negative]) == {26}
    assert set(fixed.current[negative] % 27) == {0, 26}
    assert not (original.valid & (original.label == 0)).any()
    assert (original.valid & (original.label == 1)).any()


def test_with_parity_a_refused_negative_ends_the_trajectory() -> None:
    """In 40 frames those from 14 to 25 have no negatives, and about half of the anchors there want one."""
    fixed, original = (draw("v2", repeated(40), parity) for parity in (False, True))
    late = np.arange(LENGTH) % 40 >= 30
    assert (original.valid <= fixed.valid).all()
    assert original.valid[:, ~late].sum() > 0.6 * fixed.valid[:, ~late].sum()
    assert original.valid[:, late].sum() < 0.5 * fixed.valid[:, late].sum()


@pytest.mark.parametrize("mode", STRIDED)
def test_counts_and_distances_in_a_trajectory_of_1000(drawn: dict[str, Pairs], mode: str) -> None:
    pairs = drawn[mode]
    counts = pairs.valid.sum(axis=1)
    assert ((counts > 200) & (counts < 300)).all()
    distance = np.abs(pairs.current - pairs.other)
    positive, negative = pairs.valid & (pairs.label == 1), pairs.valid & (pairs.label == 0)
    assert set(distance[positive]) == {1, 2, 3, 4, 5}
    assert distance[negative].min() > 25
    share = positive.sum() / pairs.valid.sum()
    assert share == pytest.approx(0.5, abs=5 * 0.5 / pairs.valid.sum() ** 0.5)


@pytest.mark.parametrize("mode", STRIDED)
def test_positives_come_in_both_orders_and_negatives_start_at_the_anchor(drawn: dict[str, Pairs], mode: str) -> None:
    pairs = drawn[mode]
    positive = pairs.valid & (pairs.label == 1)
    swapped = (pairs.current > pairs.other)[positive].mean()
    assert swapped == pytest.approx(0.5, abs=5 * 0.5 / positive.sum() ** 0.5)
    negative = pairs.valid & (pairs.label == 0)
    assert (pairs.current == np.arange(LENGTH))[negative].all()
    for earlier in (True, False):
        assert ((pairs.other < pairs.current) == earlier)[negative].any()


def test_positive_intervals_never_overlap_in_v1_but_do_in_v3(drawn: dict[str, Pairs]) -> None:
    def overlaps(pairs: Pairs) -> int:
        count = 0
        for row in range(STREAMS):
            chosen = pairs.valid[row] & (pairs.label[row] == 1)
            low = np.minimum(pairs.current, pairs.other)[row, chosen]
            high = np.maximum(pairs.current, pairs.other)[row, chosen]
            count += int((low[1:] <= high[:-1]).sum())
        return count

    assert overlaps(drawn["v1"]) == 0
    assert overlaps(drawn["v3"]) > 0
    assert overlaps(drawn["v2"]) > 0


def test_the_stride_of_v2_does_not_depend_on_k() -> None:
    pairs = draw("v2", one_trajectory(), within=2)
    anchors = [np.flatnonzero(pairs.valid[row]) for row in range(STREAMS)]
    assert set(np.concatenate([np.diff(a) for a in anchors])) >= {2, 3, 4, 5, 6}


@pytest.mark.parametrize("mode", (*STRIDED, "v4"))
def test_no_pair_leaves_its_trajectory(drawn: dict[str, Pairs], mode: str) -> None:
    pairs = drawn[f"{mode} several"]
    trajectory = np.cumsum(np.asarray(several()))
    np.testing.assert_array_equal(trajectory[pairs.current[pairs.valid]], trajectory[pairs.other[pairs.valid]])
    distance = np.abs(pairs.current - pairs.other)
    assert distance[pairs.valid & (pairs.label == 1)].max() <= 5
    assert distance[pairs.valid & (pairs.label == 0)].min() > 25
    assert set(trajectory[pairs.current[pairs.valid]]) >= {4, 5}


def test_a_trajectory_of_five_frames_yields_only_positives() -> None:
    pairs = draw("v1", repeated(5))
    assert pairs.valid.any()
    assert (pairs.label[pairs.valid] == 1).all()


def test_v4_draws_half_of_each_without_repetition(drawn: dict[str, Pairs]) -> None:
    pairs = drawn["v4"]
    assert (pairs.valid.sum(axis=1) == 1000).all()
    assert (pairs.label.sum(axis=1) == 500).all()
    distance = np.abs(pairs.current - pairs.other)
    assert set(distance[pairs.label == 1]) == {1, 2, 3, 4, 5}
    assert distance[pairs.label == 0].min() == 26
    for row in range(STREAMS):
        unordered = np.sort(np.stack([pairs.current[row], pairs.other[row]]), axis=0)
        assert len(np.unique(unordered, axis=1).T) == 1000
    middle = (pairs.current + pairs.other)[pairs.label == 0] / 2  # all pairs are alike, so it is symmetric around 499.5
    assert middle.mean() == pytest.approx(499.5, abs=5 * middle.std() / middle.size**0.5)


def test_v4_leaves_out_a_trajectory_with_too_few_negatives(drawn: dict[str, Pairs]) -> None:
    trajectory = np.cumsum(np.asarray(several()))
    pairs = drawn["v4 several"]
    assert set(trajectory[pairs.current[pairs.valid]]) == {4, 5}
    assert (pairs.valid.sum(axis=1) == 264 + 700).all()


def test_bounds() -> None:
    starts = jnp.array([True, False, False, True, True, False])
    first, after = trajectory_bounds(starts)
    assert first.tolist() == [0, 0, 0, 3, 4, 4]
    assert after.tolist() == [3, 3, 3, 4, 6, 6]


@pytest.mark.parametrize("size", [1, 2, 5, 16, 1000])
def test_a_shuffled_index_is_a_permutation_and_another_for_other_bits(size: int) -> None:
    ranks = jnp.arange(size)
    once, again = (np.asarray(shuffled_index(jnp.uint32(bits), ranks, jnp.uint32(size))) for bits in (7, 8))
    for order in (once, again):
        assert sorted(order.tolist()) == list(range(size))
    assert size < 16 or (once != again).any()


def test_the_first_of_a_shuffle_is_uniform() -> None:
    bits = jax.random.bits(jax.random.key(0), (20_000,))
    places = shuffled_index(bits, jnp.zeros(20_000, jnp.int32), jnp.full(20_000, 10, jnp.uint32))
    counts = np.bincount(np.asarray(places), minlength=10)
    np.testing.assert_allclose(counts, 2000, atol=5 * (20_000 * 0.1 * 0.9) ** 0.5)
