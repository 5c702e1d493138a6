"""Pictures of the maze as arrays: a constant background with discs and a line drawn over it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from envs.point_maze import maze
from envs.raster import distance_to_line

AGENT_COLOUR = (255, 0, 0)
GOAL_COLOUR = (0, 0, 255)
TRAJECTORY_COLOUR = (255, 150, 0)
WALL_COLOUR = (0, 0, 0)

# Radii in cells. The agent is drawn last and smaller, so that the goal still shows around it.
_AGENT_RADIUS = 0.25
_GOAL_RADIUS = 0.38
_TRAJECTORY_RADIUS = 0.08

# White border as a share of the picture; at 100 pixels it makes the cells exactly 9 pixels wide.
_BORDER = 0.05


def _wall_width(size: int) -> int:
    return max(1, size // 100)


def to_pixel(point: np.ndarray, size: int) -> np.ndarray:
    """Column and row of points, `[..., 2] -> [..., 2]` float: y points up, rows go down, pixel k covers [k, k + 1)."""
    # Half a wall's width puts the maze's grid lines on the middle of the pixels that show them.
    along = _BORDER * size + 0.5 * _wall_width(size) + (np.asarray(point) + 0.5) / maze.SIZE * (1 - 2 * _BORDER) * size
    return np.stack([along[..., 0], size - along[..., 1]], axis=-1)


def extent() -> tuple[float, float]:
    """Coordinates at the two ends of a picture's axis, the same for x and y."""
    border = _BORDER * maze.SIZE / (1 - 2 * _BORDER)
    return -0.5 - border, maze.SIZE - 0.5 + border


def background(size: int) -> np.ndarray:
    """The empty maze, `[size, size, 3]` uint8, black walls on white, one pixel wide per 100."""
    picture = np.full((size, size, 3), 255, dtype=np.uint8)
    width = _wall_width(size)
    for axis, line, along in np.argwhere(~maze.PASSAGES):
        ends = np.array([[line, along], [line, along + 1]]) - 0.5
        corners = to_pixel(ends[:, ::-1] if axis else ends, size) - 0.5 * width
        (left, bottom), (right, top) = np.round(corners).astype(int)
        picture[top : bottom + width, left : right + width] = WALL_COLOUR
    return picture


def make_renderer(size: int) -> Callable[[jax.Array, jax.Array, jax.Array | None], jax.Array]:
    """Binds the picture's size.

    Args:
        size: height and width, pixels.

    Returns:
        `draw(agent, goal, trajectory)`: `[2]`, `[2]` and `[T, 2]` or None, positions in cells, to `[size, size, 3]`
        uint8. Rows of the trajectory with NaN are left out.

    Raises:
        ValueError: if the size leaves fewer than two pixels for a cell.
    """
    if size < 2 * maze.SIZE / (1 - 2 * _BORDER):
        raise ValueError(f"render_size is {size}, too small to show {maze.SIZE} cells; use 100 or so")
    empty = background(size)
    cells_per_pixel = maze.SIZE / ((1 - 2 * _BORDER) * size)
    # Positions of the pixels' centres in the maze.
    along = (np.arange(size) + 0.5 - _BORDER * size - 0.5 * _wall_width(size)) * cells_per_pixel - 0.5
    pixels = np.stack(np.broadcast_arrays(along[None, :], along[::-1, None]), axis=-1).astype(np.float32)

    def paint(picture: jax.Array, distance: jax.Array, radius: float, colour: tuple[int, int, int]) -> jax.Array:
        # Coverage falls from 1 to 0 over the pixel that the edge runs through, which smooths it.
        coverage = jnp.clip((radius - distance) / cells_per_pixel + 0.5, 0.0, 1.0)[..., None]
        return picture + coverage * (jnp.array(colour, dtype=jnp.float32) - picture)

    def draw(agent: jax.Array, goal: jax.Array, trajectory: jax.Array | None = None) -> jax.Array:
        picture = jnp.asarray(empty, dtype=jnp.float32)
        picture = paint(picture, jnp.linalg.norm(pixels - goal, axis=-1), _GOAL_RADIUS, GOAL_COLOUR)
        if trajectory is not None:
            distance = distance_to_line(jnp.asarray(pixels), trajectory)
            picture = paint(picture, distance, _TRAJECTORY_RADIUS, TRAJECTORY_COLOUR)
        picture = paint(picture, jnp.linalg.norm(pixels - agent, axis=-1), _AGENT_RADIUS, AGENT_COLOUR)
        return jnp.round(picture).astype(jnp.uint8)

    return draw
