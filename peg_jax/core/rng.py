"""Explicit randomness: one key per use, derived by name, so that a new consumer leaves the others' numbers alone."""

import zlib

import jax

from peg_jax.core.types import Key


def named(key: Key, name: str) -> Key:
    """The key for the use called `name`: `fold_in` on a stable hash of the name."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()) & 0x7FFFFFFF)
