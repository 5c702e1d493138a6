"""How much of a maze can be covered: the grid-oracle cells that the agent can enter."""

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze3d.kinematics import RADIUS
from envs.maze3d.types import ORACLE_CELL, UNITS_PER_CELL


def reachable_cells(floor: jax.Array) -> jax.Array:
    """Number of grid-oracle cells, int32 `[]`, into which the agent's centre can come.

    The centre keeps `RADIUS` from walls. So along each axis a place is either inside one maze cell's core or on the
    border strip between two cells, and it is free where all cells it touches are floor.

    Args:
        floor: `[H, W]` bool, connected, the border not included.
    """
    rows, columns = _strips(floor.shape[0]), _strips(floor.shape[1])
    (row_cells, row_overlap), (column_cells, column_overlap) = rows, columns
    free = jnp.ones((len(row_cells), len(column_cells)), bool)
    for side in range(2):
        for other in range(2):
            free &= floor[row_cells[:, side][:, None], column_cells[:, other]]
    touched = row_overlap.astype(np.float32) @ free.astype(jnp.float32) @ column_overlap.T.astype(np.float32)
    return jnp.sum(touched > 0).astype(jnp.int32)


def _strips(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cores and borders along an axis: `[S, 2]` the cells each touches, `[G, S]` the oracle cells it overlaps."""
    cores = [(k, k, k + RADIUS, k + 1 - RADIUS) for k in range(size)]
    borders = [(k, k + 1, k + 1 - RADIUS, k + 1 + RADIUS) for k in range(size - 1)]
    low_cell, high_cell, low, high = np.array([*cores, *borders]).T
    edge = ORACLE_CELL / UNITS_PER_CELL
    starts = edge * np.arange(int(np.ceil(size / edge)))[:, None]
    overlap = (low < starts + edge) & (high > starts)
    return np.stack([low_cell, high_cell], axis=1).astype(int), overlap
