"""Procedural surfaces: patterns as formulas of a few numbers, and per episode the materials and posters of a theme.

Formulas rather than pictures, because looking pixels up in memory costs a CPU several times more than computing them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze3d.draws import integers, ranks, uniforms
from envs.maze3d.types import Look

ROOM_WALL, CORRIDOR_WALL, FLOOR, CEILING, FIRST_DOOR = range(5)
"""Materials, by index."""

DOOR_COLORS = ((0.85, 0.15, 0.15), (0.15, 0.7, 0.2), (0.2, 0.3, 0.9), (0.9, 0.8, 0.15), (0.75, 0.2, 0.8))
"""Red, green, blue, yellow, violet: of doors and their keys."""

FIRST_POSTER = FIRST_DOOR + len(DOOR_COLORS)
POSTERS = 24

POSTER_CHANCE = 0.1
"""Of a poster on a wall face."""

_LAMP_CONTRAST = 0.8
_LAMP_PERIODS = (5.0, 10.0)  # shortest and longest distance from light to light, cells


class Material(NamedTuple):
    """The numbers of a pattern, and its two colours; each a scalar or an array that broadcasts against pixels.

    A pattern is tiled from one shape, which is symmetric about the middle of its tile. With `p` and `q` the distances
    from that middle across and up (0 in the middle, 1 at the edge), the shape is where
    `p_weight p + q_weight q + min_weight min(p, q) + square_weight (p^2 + q^2) + difference_weight |p - q|` exceeds
    `threshold`.
    """

    across: jax.Array  # tiles per cell
    up: jax.Array  # tiles per cell
    stagger: jax.Array  # tiles by which every row is moved against the one below
    shear: jax.Array  # tiles by which a column of tiles leans over one cell
    zigzag: jax.Array  # tiles by which rows bend
    p_weight: jax.Array
    q_weight: jax.Array
    min_weight: jax.Array
    square_weight: jax.Array
    difference_weight: jax.Array
    threshold: jax.Array
    sharpness: jax.Array  # of the shape's edge
    mottle: jax.Array  # how much brightness varies from tile to tile, 0 to 1
    dark: list[jax.Array]  # red, green, blue in [0, 1]
    light: list[jax.Array]


NUMBERS = len(Material._fields) - 2
"""Numbers of a pattern; a row of `Look.material` holds them and then both colours."""

# Rows of (across, up, stagger, shear, zigzag, p, q, min, square, difference, threshold, sharpness, mottle).
_SURFACES = np.array(
    [
        (2, 4, 0.5, 0, 0, 0, 0, 0, 0, 0, -1, 1, 0.6),  # mosaic of bricks
        (2, 4, 0.5, 0, 0, -0.5, -1, 0, 0, 0, -0.95, 8, 0.5),  # bricks with rounded edges
        (4, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0.2, 1.2, 0.2),  # soft columns
        (1, 5, 0, 0, 0, 0, -1, 0, 0, 0, -0.85, 9, 0.6),  # planks
        (3, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0.35, 6, 0.3),  # crossing diagonals
        (4, 4, 0, 4, 0, 1, 0, 0, 0, 0, 0.5, 12, 0.2),  # leaning stripes
        (4, 4, 0.5, 0, 0, 0, 0, 0, 1, 0, 0.5, 6, 0.4),  # dots
        (2, 2, 0, 0, 0, 0, 0, -1, 0, 0, -0.8, 8, 0.5),  # crosses of tiles
        (2, 4, 0, 0, 1, 0, 1, 0, 0, 0, 0.5, 6, 0.2),  # zigzags
        (6, 6, 0, 0, 0, 0, 0, 0, 0, 0, -1, 1, 0.9),  # coarse noise
        (12, 12, 0.3, 0, 0, 0, 0, 0, 0, 0, -1, 1, 0.7),  # fine noise
        (1, 1, 0, 0, 0, -1, -1, 0, 0, 0, -1.2, 1.5, 0.3),  # diamonds
    ],
    np.float32,
)

_DOOR = np.array((2, 2, 0, 0, 0, -0.5, -0.5, 0, -0.5, 0, -0.95, 10, 0), np.float32)  # panels in a frame

_PICTURES = np.array(
    [
        (1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0.5, 20, 0),  # disc
        (1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0.25, 20, 0),  # cross
        (1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0.3, 20, 0),  # crossed diagonals
        (1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0.8, 20, 0),  # diamond
        (1, 1, 0, 0, 0, 1, 1, -1, 0, 0, 0.6, 20, 0),  # square
        (2, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0.6, 20, 0),  # four discs
        (3, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0.5, 20, 0),  # upright stripes
        (1, 3, 0, 0, 0, 0, 1, 0, 0, 0, 0.5, 20, 0),  # level stripes
        (3, 3, 0, 3, 0, 1, 0, 0, 0, 0, 0.5, 20, 0),  # leaning stripes
        (2, 3, 0, 0, 1, 0, 1, 0, 0, 0, 0.5, 20, 0),  # zigzags
        (2, 2, 0, 0, 0, 1, 1, 0, 0, 0, 0.9, 20, 0),  # four diamonds
        (1, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0.6, 20, 0),  # two ellipses
    ],
    np.float32,
)


def unpack(rows: jax.Array) -> Material:
    """`[..., NUMBERS + 6]` as a `Material` of arrays `[...]`."""
    numbers = [rows[..., index] for index in range(NUMBERS + 6)]
    dark, light = numbers[NUMBERS : NUMBERS + 3], numbers[NUMBERS + 3 :]
    return Material._make([*numbers[:NUMBERS], dark, light])


def brightness(material: Material, u: jax.Array, v: jax.Array, seed: jax.Array) -> jax.Array:
    """How much of the light colour a pattern has at `(u, v)`, which are in cells: in [0, 1].

    Args:
        material: the pattern.
        u: place across.
        v: place up.
        seed: uint32, of the variation from tile to tile.
    """
    y = v * material.up
    row = jnp.floor(y)
    x = u * material.across + material.stagger * row + material.shear * v
    column = jnp.floor(x)
    p = jnp.abs(2 * (x - column) - 1)
    y = y + material.zigzag * p
    q = jnp.abs(2 * (y - jnp.floor(y)) - 1)
    shape = material.p_weight * p + material.q_weight * q + material.min_weight * jnp.minimum(p, q)
    shape = shape + material.square_weight * (p * p + q * q) + material.difference_weight * jnp.abs(p - q)
    inside = jnp.clip((shape - material.threshold) * material.sharpness, 0.0, 1.0)
    tile = hashed(seed, row.astype(jnp.int32), column.astype(jnp.int32))
    return inside * (1.0 - material.mottle * (tile & 255).astype(jnp.float32) / 255.0)


def hashed(seed: jax.Array, row: jax.Array | np.ndarray, column: jax.Array | np.ndarray) -> jax.Array:
    """A number that looks random for each seed and place, uint32."""
    row, column = jnp.asarray(row).astype(jnp.uint32), jnp.asarray(column).astype(jnp.uint32)
    mixed = seed ^ (row * jnp.uint32(0x85EBCA77)) ^ (column * jnp.uint32(0xC2B2AE3D))
    mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(0x2C1B3C6D)
    mixed = (mixed ^ (mixed >> 12)) * jnp.uint32(0x297A2D39)
    return mixed ^ (mixed >> 15)


def lamp(row: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """The light of one colour at places `x` and `y`, as a factor about 1: stripes that fade into each other.

    The three colours have stripes of different directions and widths, so that most places have a light of their own.
    Two walls of one pattern would look the same, and no network could tell one corridor from the next.

    Args:
        row: `[3]`, of `Look.lamp`: stripes per cell along x and along y, and the stripe at the origin.
        x: in cells.
        y: in cells.
    """
    stripe = row[0] * x + row[1] * y + row[2]
    return 1.0 + _LAMP_CONTRAST * (4.0 * jnp.abs(stripe - jnp.round(stripe)) - 1.0)


def draw_look(key: jax.Array, shape: tuple[int, int]) -> Look:
    """The theme of an episode: materials of rooms, corridors, floor and ceiling, posters on a tenth of faces, light.

    Args:
        key: PRNG key.
        shape: height and width of the maze, cells.
    """
    faces = (4, *shape)
    pattern, surface, poster, hangs, number, seed, lamps = uniforms(
        key, (len(_SURFACES),), (4, FIRST_DOOR), (2, POSTERS), faces, faces, (), (3, 3)
    )
    surfaces = jnp.asarray(_SURFACES)[ranks(pattern)[:FIRST_DOOR]]
    pictures = jnp.asarray(_PICTURES)[np.arange(POSTERS) % len(_PICTURES)]
    doors = jnp.broadcast_to(_DOOR, (len(DOOR_COLORS), NUMBERS))
    door_colors = jnp.asarray([[*(0.3 * c for c in color), *color] for color in DOOR_COLORS])
    numbers = jnp.concatenate([surfaces, doors, pictures])
    colors = jnp.concatenate([_surface_colors(surface), door_colors, _poster_colors(poster)])
    return Look(
        material=jnp.concatenate([numbers, colors], axis=1),
        poster=jnp.where(hangs < POSTER_CHANCE, integers(number, 0, POSTERS), -1).astype(jnp.int8),
        seed=integers(seed, 0, 1 << 24).astype(jnp.uint32),
        lamp=_lamps(*lamps),
    )


def _lamps(direction: jax.Array, period: jax.Array, shift: jax.Array) -> jax.Array:
    """Rows for `lamp` of three colours from uniform numbers `[3]` each."""
    shortest, longest = _LAMP_PERIODS
    angle, per_cell = 2 * jnp.pi * direction, 1.0 / (shortest + (longest - shortest) * period)
    return jnp.stack([per_cell * jnp.cos(angle), per_cell * jnp.sin(angle), shift], axis=1)


def _surface_colors(uniform: jax.Array) -> jax.Array:
    """A dark colour for each surface, and a light one of a hue close to it: `[4, FIRST_DOOR] -> [FIRST_DOOR, 6]`."""
    hue, saturation, value, turn = uniform
    light = hsv_to_rgb(hue, 0.15 + 0.6 * saturation, 0.6 + 0.35 * value)
    dark = hsv_to_rgb(hue + 0.2 * (turn - 0.5), 0.2 + 0.6 * saturation, 0.25 + 0.25 * value)
    return jnp.concatenate([dark, light], axis=1)


def _poster_colors(uniform: jax.Array) -> jax.Array:
    """Two vivid colours for each poster, of opposite hues: `[2, POSTERS] -> [POSTERS, 6]`."""
    hue, value = uniform
    dark, light = hsv_to_rgb(hue, 0.9, 0.35 + 0.6 * value), hsv_to_rgb(hue + 0.5, 0.7, jnp.ones(POSTERS))
    return jnp.concatenate([dark, light], axis=1)


def hsv_to_rgb(hue: jax.Array, saturation: jax.Array | float, value: jax.Array) -> jax.Array:
    """`[...]` each, the hue in turns, to `[..., 3]`; after Smith, "Color gamut transform pairs" (SIGGRAPH 1978)."""
    sector = (hue[..., None] * 6 + jnp.array([5.0, 3.0, 1.0])) % 6
    wave = jnp.clip(jnp.minimum(sector, 4 - sector), 0, 1)
    return value[..., None] * (1 - jnp.asarray(saturation)[..., None] * wave)
