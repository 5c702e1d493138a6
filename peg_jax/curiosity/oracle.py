"""Coverage of space, by a grid: a privileged bonus, and the metric of no-reward tasks (Savinov et al. 2019).

A position's cell is `(trunc(x/g), trunc(y/g), trunc(z/g))`, truncated toward zero as published, which makes the cells
around 0 twice as wide. The first visit of a cell in an episode pays `g^2 / norm`, other visits nothing.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from peg_jax.core.types import Array
from peg_jax.curiosity.config import OracleConfig

Corner = tuple[float, float, float]


class Grid(NamedTuple):
    """The cells within given bounds."""

    cell: float  # edge, in units of position
    truncate: bool  # toward zero, else down
    first: tuple[int, int, int]  # cell of the lowest corner
    shape: tuple[int, int, int]  # cells along each axis


def make_grid(config: OracleConfig, low: Corner, high: Corner) -> Grid:
    """The grid over positions from `low` to `high`; what lies outside counts as the nearest cell inside."""
    truncate = config.rounding == "truncate"
    round_ = np.trunc if truncate else np.floor
    first, last = (round_(np.asarray(corner) / config.cell).astype(int) for corner in (low, high))
    x, y, z = (last - first + 1).tolist()
    return Grid(config.cell, truncate, (int(first[0]), int(first[1]), int(first[2])), (x, y, z))


def empty(grid: Grid) -> Array:
    """Nothing visited yet: bool `[X * Y * Z]`."""
    return jnp.zeros(np.prod(grid.shape), bool)


def visit(grid: Grid, visited: Array, position: Array) -> tuple[Array, Array]:
    """Enter a position.

    Args:
        grid: the cells.
        visited: `[X * Y * Z]` bool.
        position: `[3]`.

    Returns:
        `(new bool [], visited)`: whether its cell was entered for the first time, and the cells visited since.
    """
    scaled = position / grid.cell
    cell = (jnp.trunc(scaled) if grid.truncate else jnp.floor(scaled)).astype(jnp.int32) - jnp.asarray(grid.first)
    x, y, z = jnp.clip(cell, 0, jnp.asarray(grid.shape) - 1)
    index = (x * grid.shape[1] + y) * grid.shape[2] + z
    return ~visited[index], visited.at[index].set(True)


def bonus(config: OracleConfig, new: Array) -> Array:
    """What entering cells pays: bool `[...]` -> float32 `[...]`."""
    return new * (config.cell**2 / config.norm)
