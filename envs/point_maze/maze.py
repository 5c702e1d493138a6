"""The fixed 10 x 10 maze: its walls, the sweep-and-slide motion of a point among them, and route lengths.

Lengths are in cells. Cell `(i, j)` is the unit square centred on the integer point `(i, j)`, x to the right and y up,
so that the whole maze fills `[-0.5, 9.5]^2`. A point belongs to the cell of its rounded coordinates (half to even).
"""

import functools
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np

SIZE = 10
"""Cells per side."""

PULL_BACK = 0.01
"""Upper end of the uniform distance by which a blocked move is pulled back from the wall."""

# Two hits are the most one move can have: each removes its axis from the remaining move.
MAX_SLIDES = 2

# Float32 steps near 9.5 are 9.5e-7 wide. Staying this far inside the cell keeps a rounding error from crossing a wall.
_CLEARANCE = 1e-6

# A wall is looked up in the cell reached at this share of the way to it.
_LOOK_BEFORE = 0.999

# Bit x of row y tells whether cell (x, y) is open towards (x + 1, y), respectively (x, y + 1).
_RIGHT_ROWS = (0xEB, 0x15C, 0x1D3, 0x40, 0x19F, 0xAA, 0x81, 0x12A, 0xA9, 0x17E)
_UP_ROWS = (0x36D, 0x9B, 0x15F, 0x2E2, 0x2CB, 0x2FE, 0x1CD, 0xAE, 0x305, 0x0)


def _passages() -> np.ndarray:
    """`PASSAGES` from the bit tables."""
    passages = np.zeros((2, SIZE + 1, SIZE), dtype=bool)
    for y in range(SIZE):
        for x in range(SIZE):
            passages[0, x + 1, y] = _RIGHT_ROWS[y] >> x & 1
            passages[1, y + 1, x] = _UP_ROWS[y] >> x & 1
    return passages


PASSAGES = _passages()
"""`[2, 11, 10]` bool: `[axis, k, along]` whether cells `k - 1` and `k` of an axis, at `along` on the other, connect."""


def cell_of(point: jax.Array) -> jax.Array:
    """Centre of the cell that holds a point: `[..., 2] -> [..., 2]`, float, rounding half to even."""
    return jnp.round(point)


def crossings(pos: jax.Array, delta: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """The grid lines that a straight move crosses, at most one per axis because a move is shorter than a cell.

    Args:
        pos: `[2]` start of the move.
        delta: `[2]` displacement, each entry within (-1, 1).

    Returns:
        crosses `[2]` bool, whether there is a line on this axis; is_wall `[2]` bool, whether it is a wall; fraction
        `[2]` of the move at which it is reached; line `[2]`, its coordinate. The last two mean nothing where no line is
        crossed.
    """
    cell, target = jnp.round(pos), jnp.round(pos + delta)
    crosses = cell != target
    line = 0.5 * (cell + target)
    fraction = (line - pos) / jnp.where(crosses, delta, 1.0)
    # The cell at the look-up point: on the line's own axis still the start cell, on the other one the target cell if
    # its line comes before. Comparing fractions, unlike rounding that point, is exact enough close to corners. Where
    # the target is outside the maze some wall is read, but the outer wall is reached first.
    other = jnp.where(_LOOK_BEFORE * fraction > fraction[::-1], target[::-1], cell[::-1]).astype(jnp.int32)
    index = jnp.maximum(cell, target).astype(jnp.int32)
    is_wall = crosses & ~jnp.asarray(PASSAGES)[jnp.arange(2), index, other]
    return crosses, is_wall, fraction, line


def move(pos: jax.Array, delta: jax.Array, pull_back: jax.Array) -> jax.Array:
    """Sweeps a point along a straight line, sliding along the walls that it meets.

    At the first wall the point stops, is pulled back from it, and keeps the remaining share of the other axis'
    displacement.

    Args:
        pos: `[2]` start of the move, inside the maze.
        delta: `[2]` displacement, each entry within (-1, 1).
        pull_back: `[2]` distance kept from the first and the second wall that is hit, each within [0, `PULL_BACK`).

    Returns:
        `[2]` the position reached, on the near side of every wall that was hit.
    """
    for slide in range(MAX_SLIDES):
        crosses, is_wall, fraction, line = crossings(pos, delta)
        first = jnp.min(jnp.where(is_wall, fraction, 1.0))
        blocked = is_wall & (fraction == first)
        # Rounding must not carry the point over a line that it has not reached when it stops.
        ahead = crosses & (fraction >= first)
        sign = jnp.sign(delta)
        limit = sign * line - jnp.where(blocked, pull_back[slide], 0.0) - _CLEARANCE
        advanced = pos + first * delta
        pos = jnp.where(ahead, sign * jnp.minimum(sign * advanced, limit), advanced)
        delta = jnp.where(blocked, 0.0, (1.0 - first) * delta)
    return pos


def is_clear(point: jax.Array, reach: float) -> jax.Array:
    """Whether a diagonal move by `reach` per axis, away from the cell's centre, meets no wall: `[2] -> []` bool."""
    outward = jnp.sign(point - cell_of(point)) * reach
    _, is_wall, _, _ = crossings(point, outward)
    return ~jnp.any(is_wall)


def route_length(start: tuple[int, int], end: tuple[int, int]) -> int:
    """Number of passages on the only route between two cells.

    Raises:
        ValueError: if a cell lies outside the maze.
    """
    for cell in (start, end):
        if not all(0 <= coordinate < SIZE for coordinate in cell):
            raise ValueError(f"cell {cell} is outside the {SIZE} x {SIZE} maze")
    return int(route_lengths()[(*start, *end)])


@functools.cache
def route_lengths() -> np.ndarray:
    """`route_length` between all cells, int `[10, 10, 10, 10]`, by breadth-first search on the host."""
    lengths = np.zeros((SIZE,) * 4, int)
    for start in np.ndindex(SIZE, SIZE):
        for end, length in _lengths_from(start).items():
            lengths[(*start, *end)] = length
    return lengths


def _lengths_from(start: tuple[int, ...]) -> dict[tuple[int, ...], int]:
    lengths = {start: 0}
    queue = deque([start])
    while queue:
        x, y = queue.popleft()
        neighbours = {
            (x + 1, y): PASSAGES[0, x + 1, y],
            (x - 1, y): PASSAGES[0, x, y],
            (x, y + 1): PASSAGES[1, y + 1, x],
            (x, y - 1): PASSAGES[1, y, x],
        }
        for cell, is_open in neighbours.items():
            if is_open and cell not in lengths:
                lengths[cell] = lengths[(x, y)] + 1
                queue.append(cell)
    return lengths
