"""A floor of random tiles, and what a camera on the ant sees of it: one ray per pixel, no picture files.

A tile shows one of 189 patterns. They are the same in every episode; which tile shows which is drawn anew.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze3d.renderer import Color, pack, to_bytes
from envs.maze3d.textures import Material, brightness, hashed, hsv_to_rgb
from envs.mujoco.sketch import rotation

TILE = 4.0
"""Edge of a tile, metres."""

PERIOD = 20
"""Tiles along each axis after which the floor repeats."""

PATTERNS = 189

FORWARD, RIGHT, UP = (0.84712, 0.0, -0.53132), (0.0, -1.0, 0.0), (0.53132, 0.0, 0.84712)
"""The camera's axes in those of the torso, at whose centre it is: ahead, and 32 degrees down."""

FIELD_OF_VIEW = 45.0
"""From the top of the view to its bottom, degrees: MuJoCo's default."""

_SHARP_TO = 8.0  # metres to which patterns keep their contrast; beyond, they would only flicker
_HAZE_LENGTH = 60.0  # metres in which haze takes a share 1 - 1/e of the floor
_HAZE = (0.72, 0.76, 0.80)
_ZENITH = (0.25, 0.40, 0.70)


class Camera(NamedTuple):
    """Slopes of the pixels, from the middle of the view."""

    right: np.ndarray  # [W]
    up: np.ndarray  # [H]


def make_camera(height: int, width: int) -> Camera:
    """A camera with square pixels and the published field of view."""
    focal = 0.5 * height / np.tan(np.radians(FIELD_OF_VIEW / 2))
    right = (np.arange(width) + 0.5 - width / 2) / focal
    up = (height / 2 - np.arange(height) - 0.5) / focal
    return Camera(right.astype(np.float32), up.astype(np.float32))


def first_person(camera: Camera, qpos: jax.Array, seed: jax.Array) -> jax.Array:
    """What the ant sees, without its own legs: `[H, W, 3]` uint8.

    Args:
        camera: the pixels.
        qpos: `[15]` pose.
        seed: `[]` uint32, which tile shows which pattern.
    """
    forward, right, up = jnp.array([FORWARD, RIGHT, UP]) @ rotation(qpos[3:7]).T
    x, y, z = (forward[axis] + camera.right * right[axis] + camera.up[:, None] * up[axis] for axis in range(3))
    distance = qpos[2] / jnp.maximum(-z, 1e-6)
    floor = floor_color(seed, qpos[0] + distance * x, qpos[1] + distance * y, jnp.minimum(1.0, _SHARP_TO / distance))
    clear = jnp.exp(-distance / _HAZE_LENGTH)
    height = z / jnp.sqrt(x**2 + y**2 + z**2)
    red, green, blue = (
        jnp.where(z < 0, haze + clear * (ground - haze), haze + height * (zenith - haze))
        for ground, haze, zenith in zip(floor, _HAZE, _ZENITH, strict=True)
    )
    return to_bytes(pack((red, green, blue)))


def floor_color(seed: jax.Array, x: jax.Array, y: jax.Array, contrast: jax.Array | float = 1.0) -> Color:
    """Colours of the floor at places in metres, `[...]` each; `contrast` 0 leaves a pattern's mean."""
    column, row = jnp.floor(x / TILE), jnp.floor(y / TILE)
    tile = hashed(seed, (row % PERIOD).astype(jnp.int32), (column % PERIOD).astype(jnp.int32))
    material = _pattern(tile % PATTERNS)
    part = brightness(material, x / TILE - column, y / TILE - row, tile)
    part = 0.5 + (part - 0.5) * contrast
    red, green, blue = (dark + part * (light - dark) for dark, light in zip(material.dark, material.light, strict=True))
    return red, green, blue


def _pattern(number: jax.Array) -> Material:
    """A pattern by its number, `[...]` uint32: everything about it is computed from that."""
    words = [hashed(jnp.uint32(index), number, number) for index in range(4)]
    draws = [((word >> shift) & 255).astype(jnp.float32) / 256.0 for word in words for shift in (0, 8, 16, 24)]
    weights = [2.0 * draw - 1.0 for draw in draws[:5]]  # of p, q, min(p, q), p^2 + q^2 and |p - q|
    middle = np.array([1 / 2, 1 / 2, 1 / 3, 2 / 3, 1 / 3], np.float32)  # their means over a pattern
    light = hsv_to_rgb(draws[5], 0.2 + 0.7 * draws[6], 0.65 + 0.35 * draws[7])
    dark = hsv_to_rgb(draws[5] + 0.5 * (draws[8] - 0.5), 0.3 + 0.6 * draws[9], 0.1 + 0.35 * draws[10])
    nothing = jnp.zeros(())
    return Material(
        across=jnp.floor(2 + 5 * draws[11]),
        up=jnp.floor(2 + 5 * draws[12]),
        stagger=jnp.floor(2 * draws[13]) / 2,
        shear=nothing,
        zigzag=nothing,
        p_weight=weights[0],
        q_weight=weights[1],
        min_weight=weights[2],
        square_weight=weights[3],
        difference_weight=weights[4],
        threshold=sum((w * m for w, m in zip(weights, middle, strict=True)), nothing),
        sharpness=nothing + 8.0,
        mottle=0.5 * draws[14],
        dark=[dark[..., channel] for channel in range(3)],
        light=[light[..., channel] for channel in range(3)],
    )
