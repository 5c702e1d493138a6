"""Pairs of frames for the reachability network (Savinov et al. 2019).

A stream holds the frames of one environment in order; `starts` marks those with which a trajectory begins. Both frames
of a pair always come from one trajectory. All functions are written for one stream; map over environments.

Of the original's bugs, these concern pairs:

* A trajectory of its online training ended with the frame shown at `done`, which belongs to the next episode.
* A goal's respawn did not end a trajectory, so frames a few steps apart in time and a maze apart in space were
  labelled reachable. `history.trajectory_starts` cuts at both, or with `parity` as the original did.
* Its sampler of negatives refused an anchor with a single legal partner, and a refusal ended the whole
  trajectory. Here one partner is enough and only the anchor is left out; `parity` brings both back.
"""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import rng
from peg_jax.core.types import Array, Key
from peg_jax.curiosity.feistel import shuffled_index
from peg_jax.curiosity.reachability_config import PairConfig

_V2_STRIDE = 5  # the published one, whatever k


@struct.dataclass
class Pairs:
    """Slots for pairs, of which `valid` ones are filled; times count the stream's frames."""

    current: Array  # int32 [..., T]
    other: Array  # int32 [..., T]
    label: Array  # int32 [..., T], 1 where the frames are at most k steps apart, 0 where they are far
    valid: Array  # bool [..., T]


def trajectory_bounds(starts: Array) -> tuple[Array, Array]:
    """First frame of each frame's trajectory, and the one after its last: int32 `[T]` each from bool `[T]`."""
    time = jnp.arange(starts.shape[0])
    first = jax.lax.cummax(jnp.where(starts, time, 0))
    following = jnp.append(jnp.where(starts, time, time.size)[1:], time.size)
    return first, jax.lax.cummin(following, reverse=True)


def negative_window(anchor: Array, start: Array, end: Array, gap: int) -> tuple[Array, Array, Array]:
    """Frames too close to `anchor` to be its negatives: `(lowest, highest, how many frames are left)`, int32 each."""
    lowest, highest = jnp.maximum(anchor - gap, start), jnp.minimum(anchor + gap, end - 1)
    return lowest, highest, (lowest - start) + (end - 1 - highest)


def sample_pairs(key: Key, starts: Array, config: PairConfig, parity: bool = False) -> Pairs:
    """Draw pairs by `config.mode`.

    In v1, v2 and v3 anchors walk through each trajectory and a fair coin decides which kind of pair each makes. They
    advance by 1 plus: the distance to the anchor's own candidate for a positive (v1), a draw from 1..5 (v2), or a draw
    from 1..k (v3). In v4, `rate` times the trajectory's length are drawn without repetition among all its pairs, half
    of them positive; a trajectory with too few negatives gets none.

    Args:
        key: for all draws.
        starts: bool `[T]`, frames with which a trajectory begins; the first frame counts as one.
        config: the numbers.
        parity: refuse negatives as the original did.

    Returns:
        `Pairs` with T slots.
    """
    chex.assert_rank(starts, 1)
    starts = starts.at[0].set(True)
    if config.mode == "v4":
        return _without_stride(key, starts, config)
    return _along_the_stream(key, starts, config, parity)


def _along_the_stream(key: Key, starts: Array, config: PairConfig, parity: bool) -> Pairs:
    length = starts.shape[0]
    start, end = trajectory_bounds(starts)
    time = jnp.arange(length)
    draws = jax.random.uniform(key, (5, length))  # one draw for all uses: random bits are most of the program
    ahead = 1 + _below(draws[0], config.within)
    label, swap = draws[1] < 0.5, draws[2] < 0.5
    lowest, highest, left = negative_window(time, start, end, config.gap)
    drawn = start + _below(draws[3], left)
    negative = jnp.where(drawn < lowest, drawn, drawn + highest + 1 - lowest)
    refused = left < (2 if parity else 1)
    usable = jnp.where(label, time + ahead < end, ~refused)
    anchors = _walk(starts, 1 + _strides(draws[4], ahead, config), ~label & refused & parity)
    other = jnp.where(label, time + ahead, negative)
    return Pairs(
        current=jnp.where(swap & label, other, time),
        other=jnp.where(swap & label, time, other),
        label=label.astype(jnp.int32),
        valid=anchors & usable,
    )


def _below(uniform: Array, count: Array | int) -> Array:
    """A whole number drawn from 0..count-1 (0 for none), from one in [0, 1); exact for counts below 2^23."""
    return jnp.floor(uniform * count).astype(jnp.int32)


def _strides(uniform: Array, ahead: Array, config: PairConfig) -> Array:
    if config.mode == "v1":
        return ahead
    return 1 + _below(uniform, _V2_STRIDE if config.mode == "v2" else config.within)


def _walk(starts: Array, advance: Array, stop: Array) -> Array:
    """Which frames are anchors: each trajectory's first, then every `advance[t]`-th, until an anchor has `stop[t]`."""
    length = starts.shape[0]

    def step(awaited: Array, now: tuple[Array, Array, Array, Array]) -> tuple[Array, Array]:
        time, begins, ahead, stops = now
        here = begins | (time == awaited)
        return jnp.where(here, jnp.where(stops, length, time + ahead), awaited), here

    _, anchors = jax.lax.scan(step, jnp.zeros((), jnp.int32), (jnp.arange(length), starts, advance, stop))
    return anchors


def _without_stride(key: Key, starts: Array, config: PairConfig) -> Pairs:
    """Slot t holds the pair of its rank `t - start` among its trajectory's; positives come first."""
    total = starts.shape[0]
    start, end = trajectory_bounds(starts)
    time = jnp.arange(total)
    length, rank = end - start, time - start
    half = (config.rate * length).astype(jnp.int32) // 2
    enough = length.astype(jnp.float32) * (length - 2 * config.gap) / 2 >= 2 * half
    positive = rank < half
    bits_key, swap_key = rng.split(key, "bits", "swap")
    bits = jax.random.bits(bits_key, (2, total))[:, start]  # the same for all slots of a trajectory
    near = _near_pair(shuffled_index(bits[0], rank, _near_count(length, config.within)), length, config.within)
    far_count = _triangle(jnp.maximum(length - config.gap - 1, 1))
    far = _far_pair(shuffled_index(bits[1], jnp.maximum(rank - half, 0), far_count), config.gap)
    first, second = (start + jnp.where(positive, n, f) for n, f in zip(near, far, strict=True))
    swap = jax.random.bernoulli(swap_key, shape=(total,))
    return Pairs(
        current=jnp.where(swap, second, first),
        other=jnp.where(swap, first, second),
        label=positive.astype(jnp.int32),
        valid=(rank < 2 * half) & enough,
    )


def _triangle(n: Array) -> Array:
    """`n (n + 1) / 2` as uint32, for n below 65,536."""
    n = n.astype(jnp.uint32)
    return jnp.where(n % 2 == 0, n // 2 * (n + 1), (n + 1) // 2 * n)


def _near_count(length: Array, within: int) -> Array:
    """Number of pairs 1..`within` frames apart."""
    distances = jnp.arange(1, within + 1)
    return jnp.sum(jnp.maximum(length[..., None] - distances, 0), axis=-1).astype(jnp.uint32)


def _near_pair(index: Array, length: Array, within: int) -> tuple[Array, Array]:
    """The index-th pair at most `within` frames apart: those one frame apart come first, and so on."""
    index = index.astype(jnp.int32)
    counts = jnp.maximum(length[..., None] - jnp.arange(1, within + 1), 0)
    before = jnp.cumsum(counts, axis=-1)
    distance = jnp.sum(index[..., None] >= before, axis=-1)
    first = index - jnp.where(distance > 0, jnp.take_along_axis(before, distance[..., None] - 1, axis=-1)[..., 0], 0)
    return first, first + 1 + distance


def _far_pair(index: Array, gap: int) -> tuple[Array, Array]:
    """The index-th pair more than `gap` frames apart: pairs with the smallest later frame come first."""
    row = jnp.floor((jnp.sqrt(8.0 * index.astype(jnp.float32) + 1.0) - 1.0) / 2.0).astype(jnp.int32)
    row = row - (_triangle(row) > index)  # the square root is rounded
    row = row + (_triangle(row + 1) <= index)
    return (index - _triangle(row)).astype(jnp.int32), row + gap + 1
