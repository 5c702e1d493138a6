"""Explicit randomness: one key per use, derived by name, so that a new consumer leaves the others' numbers alone."""

import zlib

import jax
import jax.numpy as jnp

from peg_jax.core.types import Key


def split(key: Key, *names: str) -> tuple[Key, ...]:
    """The keys for several uses at once; each is the one that `named` gives, for a fraction of the compile time."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.asarray([_hash(name) for name in names]))
    return tuple(keys)


def named(key: Key, name: str) -> Key:
    """The key for the use called `name`: `fold_in` on a stable hash of the name."""
    return jax.random.fold_in(key, _hash(name))


def _hash(name: str) -> int:
    return zlib.crc32(name.encode()) & 0x7FFFFFFF
