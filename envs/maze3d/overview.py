"""The maze from above, for people: walls, doors, objects, the agent and where it has been."""

import jax
import jax.numpy as jnp

from envs.maze3d import textures
from envs.maze3d.types import EnvState

_WALL, _ROOM, _CORRIDOR = (40, 40, 48), (235, 230, 215), (205, 205, 205)
_TRACK, _MARK, _AGENT, _NOSE = (230, 120, 20), (40, 90, 230), (200, 20, 20), (20, 20, 20)


def draw(
    state: EnvState, pixels_per_cell: int, track: jax.Array | None = None, marks: jax.Array | None = None
) -> jax.Array:
    """A map, `[H * pixels_per_cell, W * pixels_per_cell, 3]` uint8, y up.

    Args:
        state: what is drawn.
        pixels_per_cell: scale.
        track: optional `[T, 2]` places where the agent has been, cells; rows with NaN are left out.
        marks: optional `[M, 2]` places to point out among them, likewise.
    """
    height, width = state.maze.wall.shape
    floor = jnp.where(state.maze.room[..., None], jnp.array(_ROOM), jnp.array(_CORRIDOR))
    tint = (255 * jnp.asarray(textures.DOOR_COLORS)).astype(jnp.int32)[jnp.maximum(state.door - 1, 0)]
    cells = jnp.where(state.maze.wall[..., None], jnp.array(_WALL), jnp.where(state.door[..., None] > 0, tint, floor))
    picture = jnp.repeat(jnp.repeat(cells, pixels_per_cell, axis=0), pixels_per_cell, axis=1)
    y = ((jnp.arange(height * pixels_per_cell) + 0.5) / pixels_per_cell)[:, None]
    x = (jnp.arange(width * pixels_per_cell) + 0.5) / pixels_per_cell

    def disc(picture: jax.Array, pos: jax.Array, radius: float, color: jax.Array, shown: jax.Array | bool) -> jax.Array:
        inside = ((x - pos[0]) ** 2 + (y - pos[1]) ** 2 < radius**2) & shown
        return jnp.where(inside[..., None], color, picture)

    if track is not None:
        picture = _dots(picture, track * pixels_per_cell, (0,), _TRACK)
    if marks is not None:
        picture = _dots(picture, marks * pixels_per_cell, (-1, 0, 1), _MARK)
    objects = state.objects
    for index in range(objects.kind.shape[0]):
        color = (255 * objects.rgb[index]).astype(jnp.int32)
        picture = disc(picture, objects.pos[index], 0.3, color, objects.kind[index] > 0)
    picture = disc(picture, state.body.pos, 0.4, jnp.array(_AGENT), True)
    nose = state.body.pos + 0.3 * jnp.stack([jnp.cos(state.body.yaw), jnp.sin(state.body.yaw)])
    picture = disc(picture, nose, 0.18, jnp.array(_NOSE), True)
    return picture[::-1].astype(jnp.uint8)


def _dots(picture: jax.Array, places: jax.Array, offsets: tuple[int, ...], color: tuple[int, int, int]) -> jax.Array:
    """Squares at `places [T, 2]`, pixels, as wide as there are offsets; rows with NaN are left out."""
    there = jnp.isfinite(places).all(axis=-1)
    x, y = jnp.where(there[:, None], places, 0).astype(jnp.int32).T
    outside = picture.shape[0]
    for dy in offsets:  # places lie within the border, which is wider than an offset
        for dx in offsets:
            picture = picture.at[jnp.where(there, y + dy, outside), x + dx].set(jnp.array(color), mode="drop")
    return picture
