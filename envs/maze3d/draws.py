"""Random numbers drawn together: one draw compiles several times sooner than one for each use."""

import math

import jax
import jax.numpy as jnp


def uniforms(key: jax.Array, *shapes: tuple[int, ...]) -> list[jax.Array]:
    """Independent uniform numbers in [0, 1), one array per shape."""
    sizes = [math.prod(shape) for shape in shapes]
    numbers = jax.random.uniform(key, (sum(sizes),))
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    return [numbers[end - size : end].reshape(shape) for shape, size, end in zip(shapes, sizes, ends, strict=True)]


def integers(uniform: jax.Array, low: jax.Array | int, high: jax.Array | int) -> jax.Array:
    """Integers in [low, high) from uniform numbers, int32 of the same shape."""
    drawn = low + jnp.floor(uniform * (high - low)).astype(jnp.int32)
    return jnp.minimum(drawn, high - 1)


def ranks(uniform: jax.Array) -> jax.Array:
    """A random permutation from uniform numbers: the rank of each along the last axis, int32 `[..., N]`."""
    index = jnp.arange(uniform.shape[-1])
    one, other = uniform[..., :, None], uniform[..., None, :]
    before = (other < one) | ((other == one) & (index < index[:, None]))
    return jnp.sum(before, axis=-1, dtype=jnp.int32)


def choose_cell(uniform: jax.Array, grid: jax.Array) -> jax.Array:
    """A random cell, `[2]` int32 (y, x), of those set in `grid [H, W]` bool, from one uniform number `[]`."""
    order = jnp.cumsum(grid.reshape(-1)) * grid.reshape(-1)
    wanted = 1 + integers(uniform, 0, jnp.maximum(jnp.sum(grid), 1))
    return jnp.stack(jnp.unravel_index(jnp.argmax(order == wanted), grid.shape)).astype(jnp.int32)
