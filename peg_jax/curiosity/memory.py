"""Episodic memory: a fixed number of slots per environment, of which the first `size` are filled.

Written for one environment; map over a batch of memories. The original kept
one list of memories for training, validation and test environments, so that each evaluation cleared the memories of
training in mid-episode. Here a memory is a value: whoever evaluates starts with memories of its own.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core.types import Array, Key
from peg_jax.curiosity.reachability_config import MemoryConfig, Replacement

Tree = Any


@struct.dataclass
class Memory:
    """What was remembered since the last `clear`."""

    entries: Tree  # leaves [capacity, ...]
    inserted: Array  # int32 [], insertions so far

    @property
    def capacity(self) -> int:
        """Number of slots."""
        return int(jax.tree.leaves(self.entries)[0].shape[0])

    @property
    def size(self) -> Array:
        """Filled slots, int32 []."""
        return jnp.minimum(self.inserted, self.capacity)

    @property
    def filled(self) -> Array:
        """Which slots are filled, bool `[capacity]`."""
        return jnp.arange(self.capacity) < self.size


def init_memory(entry: Tree, capacity: int) -> Memory:
    """An empty memory for entries like `entry`, arrays or their shapes and dtypes."""
    entries = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape), x.dtype), entry)
    return Memory(entries, jnp.zeros((), jnp.int32))


def clear(memory: Memory) -> Memory:
    """Forget everything."""
    return dataclasses.replace(memory, inserted=jnp.zeros_like(memory.inserted))


def insert(
    memory: Memory, key: Key, entry: Tree, replacement: Replacement = "random", where: Array | bool = True
) -> Memory:
    """Remember `entry` if `where []`; in a full memory it replaces another.

    `fifo` replaces the oldest entry, `random` a slot drawn uniformly: the chance to survive n insertions into a full
    memory is `(1 - 1 / capacity)^n`.
    """
    capacity = memory.capacity
    slot = memory.inserted % capacity
    if replacement == "random":
        slot = jnp.where(memory.inserted < capacity, slot, jax.random.randint(key, (), 0, capacity))

    def write(old: Array, new: Array) -> Array:
        return old.at[slot].set(jnp.where(where, new, old[slot]))

    return Memory(jax.tree.map(write, memory.entries, entry), memory.inserted + jnp.asarray(where, jnp.int32))


def aggregate(similarities: Array, filled: Array, config: MemoryConfig) -> Array:
    """One number for the similarities to all entries; 0 for an empty memory.

    * `percentile`: interpolated linearly between the entries, as published for the mazes. Less than a tenth of false
      positives cannot hide that a place is new, which they would for `max`.
    * `nth_largest`: the n-th largest, or the smallest of fewer, as published for the ant.
    * `max`: the largest.
    * `relative_count`: the share above 0.5.

    Args:
        similarities: `[capacity]`.
        filled: bool `[capacity]`, which of them count, in any order.
        config: the rule and its numbers.

    Returns:
        float32 `[]`.
    """
    size = jnp.sum(filled)
    if config.aggregation == "relative_count":
        return jnp.sum((similarities > 0.5) & filled) / jnp.maximum(size, 1)
    ordered = jnp.sort(jnp.where(filled, similarities, jnp.inf))
    if config.aggregation == "percentile":
        value = _percentile(ordered, config.percentile, size)
    else:
        rank = 1 if config.aggregation == "max" else config.nth
        value = ordered[jnp.maximum(size - rank, 0)]
    return jnp.where(size > 0, value, 0.0)


def _percentile(ordered: Array, percent: Array | float, size: Array) -> Array:
    """Linear interpolation among the first `size` of sorted values."""
    hundredths = percent * jnp.maximum(size - 1, 0)  # of a place; whole numbers as long as `percent` is one
    below = jnp.floor(hundredths / 100.0).astype(jnp.int32)
    fraction = (hundredths - 100.0 * below) / 100.0
    low, high = ordered[below], ordered[jnp.minimum(below + 1, size - 1)]
    return low + fraction * (high - low)
