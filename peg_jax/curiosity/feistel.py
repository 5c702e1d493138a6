"""Drawing without repetition, each draw on its own."""

import jax
import jax.numpy as jnp

from peg_jax.core.types import Array

_ROUNDS = 6


def shuffled_index(bits: Array, rank: Array, size: Array) -> Array:
    """Where a pseudo-random permutation of `0..size - 1` puts `rank`; each set of `bits` is another permutation.

    Different ranks below `size` never share a result, so ranks 0..n-1 are n draws without repetition, without a shuffle
    of the whole range. A Feistel network permutes the next power of four; what falls outside walks on until it is
    inside (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).

    Args:
        bits: uint32 `[...]`, randomness.
        rank: int `[...]`; those not below `size` give some index.
        size: uint32 `[...]`, from 1 to 2^31.

    Returns:
        uint32 `[...]`.
    """
    size = jnp.maximum(jnp.asarray(size, jnp.uint32), 1)
    half = (33 - jax.lax.clz(size - 1)) // 2
    mask = (jnp.uint32(1) << half) - 1

    def permute(x: Array) -> Array:
        left, right = x >> half, x & mask
        for index in range(_ROUNDS):
            left, right = right, left ^ (_hash(right + bits + jnp.uint32(index * 0x9E3779B9 % 2**32)) & mask)
        return (left << half) | right

    inside = jnp.minimum(jnp.asarray(rank, jnp.uint32), size - 1)
    return jax.lax.while_loop(
        lambda x: jnp.any(x >= size), lambda x: jnp.where(x >= size, permute(x), x), permute(inside)
    )


def _hash(x: Array) -> Array:
    """Mix the bits of a 32-bit word (the finaliser of MurmurHash3)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
