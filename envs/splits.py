"""Disjoint streams of episodes: for training one thing, for training another, and for two kinds of evaluation."""

import jax
import jax.numpy as jnp

SPLITS = ("r_training", "policy_training", "validation", "test")
"""The streams, by index."""


def split_key(key: jax.Array, split: int | jax.Array) -> jax.Array:
    """The key of an episode of one of the `SPLITS`: the split's number takes the place of a key's two highest bits.

    So no two splits share a key, whatever keys they are given.
    """
    words = jax.random.key_data(key)
    bits = (len(SPLITS) - 1).bit_length()
    mark = jnp.asarray(split, words.dtype) << (32 - bits)
    return jax.random.wrap_key_data(words.at[..., 0].set((words[..., 0] >> bits) ^ mark), impl=jax.random.key_impl(key))
