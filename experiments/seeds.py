"""Several seeds in one program: their keys, and functions mapped over them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.options import RunOptions
from peg_jax.core import rng
from peg_jax.core.types import Array, Key


def seed_keys(config: RunOptions) -> Key:
    """One key per run, `[num_seeds]`: run i has the key that a solo run with seed + i has."""
    return jnp.stack([jax.random.key(config.seed + index) for index in range(config.num_seeds)])


def evaluation_keys(config: RunOptions, env_steps: int) -> Key:
    """Keys of the evaluation after `env_steps`, `[num_seeds]`."""
    return jax.vmap(lambda key: jax.random.fold_in(rng.named(key, "evaluation"), env_steps))(seed_keys(config))


def over_seeds(function: Callable[..., Any], num_seeds: int, in_axes: Any, out_axes: Any) -> Callable[..., Any]:
    """`vmap` over the seed axis; for a single seed the axis is taken off and put back instead.

    The batching of one lane computes the same, but gives the compiler batched matrix products to see through.
    """
    if num_seeds > 1:
        return jax.vmap(function, in_axes=in_axes, out_axes=out_axes)

    def single(*arguments: Any) -> Any:
        results = function(*_reshape(in_axes, arguments, lambda x: x[0]))
        return _reshape(out_axes, results, lambda x: x[None])

    return single


def _reshape(axes: Any, tree: Any, change: Callable[[Array], Array]) -> Any:
    """Apply `change` to the leaves of `tree` whose entry in the prefix tree `axes` is 0."""

    def along(axis: int | None, part: Any) -> Any:
        return part if axis is None else jax.tree.map(change, part)

    return jax.tree.map(along, axes, tree, is_leaf=lambda node: node is None)
