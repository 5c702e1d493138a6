"""Where rays meet walls, without a loop: every grid line is intersected and the nearest solid cell taken."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_PARALLEL = 1e-6  # a component of a direction below this counts as this


class Hits(NamedTuple):
    """One ray each."""

    distance: jax.Array  # [R] float32, in lengths of the ray's direction
    y: jax.Array  # [R] int32, the cell that was hit
    x: jax.Array  # [R] int32
    face: jax.Array  # [R] int32, its face: 0 looks to +x, 1 to -x, 2 to +y, 3 to -y
    along: jax.Array  # [R] float32 in [0, 1), the place on the face from left to right as it is looked at


def cast(solid: jax.Array, pos: jax.Array, directions: jax.Array) -> Hits:
    """Follow rays to the first solid cell.

    Args:
        solid: `[H, W]` bool, solid at the border; a ray that starts in a solid cell sees through it.
        pos: `[2]` (x, y) where all rays start.
        directions: `[R, 2]` (x, y), of any length.
    """
    height, width = solid.shape
    flat = solid.reshape(-1)
    small = jnp.abs(directions) < _PARALLEL
    directions = jnp.where(small, jnp.where(directions < 0, -_PARALLEL, _PARALLEL), directions)
    rightwards, upwards = (directions > 0).astype(jnp.int32).T
    (x, y), (slope_x, slope_y) = pos, 1.0 / directions.T

    lines_x = jnp.arange(1, width)
    distance_x = (lines_x - x) * slope_x[:, None]
    row = jnp.floor(y + distance_x * directions[:, 1:]).astype(jnp.int32)
    column = lines_x - 1 + rightwards[:, None]
    hit = (distance_x > 0) & (row >= 0) & (row < height) & flat[jnp.clip(row, 0, height - 1) * width + column]
    to_x = jnp.min(jnp.where(hit, distance_x, jnp.inf), axis=1)

    lines_y = jnp.arange(1, height)
    distance_y = (lines_y - y) * slope_y[:, None]
    column = jnp.floor(x + distance_y * directions[:, :1]).astype(jnp.int32)
    row = lines_y - 1 + upwards[:, None]
    hit = (distance_y > 0) & (column >= 0) & (column < width) & flat[row * width + jnp.clip(column, 0, width - 1)]
    to_y = jnp.min(jnp.where(hit, distance_y, jnp.inf), axis=1)

    on_x = to_x < to_y
    distance = jnp.where(on_x, to_x, to_y)
    end_x, end_y = x + distance * directions[:, 0], y + distance * directions[:, 1]
    line = jnp.round(jnp.where(on_x, end_x, end_y)).astype(jnp.int32)
    cell_x = jnp.where(on_x, line - 1 + rightwards, jnp.floor(end_x).astype(jnp.int32))
    cell_y = jnp.where(on_x, jnp.floor(end_y).astype(jnp.int32), line - 1 + upwards)
    face = jnp.where(on_x, rightwards, 2 + upwards)
    place = jnp.where(on_x, end_y, end_x)
    place = place - jnp.floor(place)
    mirrored = jnp.where(on_x, rightwards == 1, upwards == 0)
    along = jnp.where(mirrored, 1.0 - place, place)
    return Hits(distance, jnp.clip(cell_y, 0, height - 1), jnp.clip(cell_x, 0, width - 1), face, along)
