"""Costly work for the few members of a batch that need it."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Tree = Any

_LEAST_CHUNK = 8
_CHUNKS = 16


def only_where(function: Callable[..., Tree]) -> Callable[..., Tree]:
    """`function(*args)` as `chosen(flag, otherwise, *args)`, which computes it only where `flag []` is set.

    `otherwise` is the result elsewhere, a tree like that of `function`. For one member this is `lax.cond`. With `vmap`,
    where `lax.cond` would compute everything for everyone, the flagged members are gathered, computed some at a time,
    and put back: the cost is that of the flagged members, at any depth of `vmap`, and nothing where no flag is set.
    """

    @jax.custom_batching.custom_vmap
    def one(flag: jax.Array, otherwise: Tree, args: tuple) -> Tree:
        return jax.lax.cond(flag, lambda: function(*args), lambda: otherwise)

    @jax.custom_batching.custom_vmap
    def many(flags: jax.Array, otherwise: Tree, args: tuple) -> Tree:
        return _in_chunks(jax.vmap(function), flags, otherwise, args)

    @one.def_vmap
    def _(size: int, batched: Sequence[Tree], *inputs: Tree) -> tuple[Tree, Tree]:
        results = many(*_spread(size, batched, inputs))
        return results, jax.tree.map(lambda _: True, results)

    @many.def_vmap
    def _(size: int, batched: Sequence[Tree], *inputs: Tree) -> tuple[Tree, Tree]:
        inputs = _spread(size, batched, inputs)
        count = inputs[0].shape[1]
        results = many(*jax.tree.map(lambda x: x.reshape(size * count, *x.shape[2:]), inputs))
        results = jax.tree.map(lambda x: x.reshape(size, count, *x.shape[1:]), results)
        return results, jax.tree.map(lambda _: True, results)

    return lambda flag, otherwise, *args: one(flag, otherwise, args)


def _spread(size: int, batched: Sequence[Tree], inputs: tuple) -> tuple:
    """Give every leaf the batch axis."""
    return jax.tree.map(lambda has, x: x if has else jnp.broadcast_to(x, (size, *jnp.shape(x))), tuple(batched), inputs)


def _in_chunks(function: Callable[..., Tree], flags: jax.Array, otherwise: Tree, args: tuple) -> Tree:
    count = flags.shape[0]
    chunk = min(count, max(_LEAST_CHUNK, count // _CHUNKS))

    def step(carry: tuple[jax.Array, Tree]) -> tuple[jax.Array, Tree]:
        left, results = carry
        (where,) = jnp.nonzero(left, size=chunk, fill_value=count)
        picked = jax.tree.map(lambda x: x[jnp.minimum(where, count - 1)], args)
        results = jax.tree.map(lambda all_, new: all_.at[where].set(new, mode="drop"), results, function(*picked))
        return left.at[where].set(False, mode="drop"), results

    return jax.lax.while_loop(lambda carry: jnp.any(carry[0]), step, (flags, otherwise))[1]
