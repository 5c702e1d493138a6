"""Flood fills and paths on grids, `[y, x]`."""

import jax
import jax.numpy as jnp
import numpy as np

UNREACHABLE = 1 << 20
"""Path length of a cell from which there is no path."""


def neighbours(grid: jax.Array, outside: float | int | bool) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """What lies right, left, above and below each cell, `outside` beyond the edge: four grids like `grid [H, W]`."""
    padded = jnp.pad(grid, 1, constant_values=outside)
    return padded[1:-1, 2:], padded[1:-1, :-2], padded[2:, 1:-1], padded[:-2, 1:-1]


def cheapest(cost: jax.Array, open_cells: jax.Array, target: jax.Array) -> jax.Array:
    """The cost of the cheapest path to the target, by repeated relaxation of all cells at once.

    Args:
        cost: `[H, W]` positive, what it costs to leave a cell.
        open_cells: `[H, W]` bool, cells that can be walked.
        target: `[H, W]` bool.

    Returns:
        `[H, W]` like `cost`; `UNREACHABLE` or more where there is no path.
    """
    far = jnp.asarray(UNREACHABLE, cost.dtype)

    def relax(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        distance, _ = carry
        right, left, up, down = neighbours(distance, UNREACHABLE)
        through = jnp.minimum(jnp.minimum(right, left), jnp.minimum(up, down)) + cost
        shorter = jnp.where(open_cells, jnp.minimum(distance, through), far)
        return shorter, jnp.any(shorter < distance)

    start = jnp.where(target & open_cells, 0, far).astype(cost.dtype)
    return jax.lax.while_loop(lambda carry: carry[1], relax, (start, jnp.asarray(True)))[0]


def distances(open_cells: jax.Array, target: jax.Array) -> jax.Array:
    """Path lengths in cells to the target, int32 `[H, W]`; `UNREACHABLE` where there is no path."""
    ones = jnp.ones(open_cells.shape, jnp.int32)
    return jnp.minimum(cheapest(ones, open_cells, target), UNREACHABLE)


def walk_down(distance: jax.Array, start: jax.Array) -> jax.Array:
    """The cells of the path from `start [2]` (y, x) down to distance 0, `[H, W]` bool; without one, the start alone."""

    def step(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        here, on_path = carry
        around = here + _STEPS
        ahead = around[jnp.argmin(distance[around[:, 0], around[:, 1]])]
        return ahead, on_path.at[ahead[0], ahead[1]].set(True)

    def going(carry: tuple[jax.Array, jax.Array]) -> jax.Array:
        here = distance[carry[0][0], carry[0][1]]
        return (here > 0) & (here < UNREACHABLE)

    on_path = jnp.zeros(distance.shape, bool).at[start[0], start[1]].set(True)
    return jax.lax.while_loop(going, step, (start, on_path))[1]


_STEPS = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])
