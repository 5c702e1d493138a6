"""Objects as upright cut-outs that face the camera."""

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze3d.types import EYE_HEIGHT

BALL, KEY, HAT, CAKE, CAN, BALLOON = range(6)
"""Shapes, by index; an object's `kind` is the index plus one."""

SHAPES = ("ball", "key", "hat", "cake", "can", "balloon")

HALF_SIZE = 0.2
"""Half the height and width of an object, cells; it stands on the floor."""

_COLUMNS = 32


def _outlines() -> np.ndarray:
    """`[S, _COLUMNS, 2]`: lower and upper end of each shape in each column, the square being [-1, 1]^2."""
    a = (np.arange(_COLUMNS) + 0.5) / _COLUMNS * 2 - 1
    round_ = np.sqrt(np.clip(1 - a**2, 0, 1))
    bow = np.sqrt(np.clip(0.5**2 - (a + 0.5) ** 2, 0, 1))
    teeth = np.where((a > 0.55) & (a < 0.75) | (a > 0.85), 0.45, 0.12)
    hat = np.where(np.abs(a) < 0.5, 0.9, -0.5)
    cake = np.where(np.abs(a) < 0.1, 1.0, 0.1)
    narrow = np.sqrt(np.clip(1 - (a / 0.7) ** 2, 0, 1))
    string = np.where(np.abs(a) < 0.06, -1.0, 0.25 - 0.75 * narrow)
    inside = np.abs(a) < 0.7
    pairs = [
        (-round_, round_),
        (np.where(a < 0, -bow, -teeth), np.where(a < 0, bow, 0.12)),
        (np.full_like(a, -0.9), hat),
        (np.full_like(a, -0.9), cake),
        (np.where(np.abs(a) < 0.5, -0.95, 1.0), np.where(np.abs(a) < 0.5, 0.95, -1.0)),
        (np.where(inside, string, 1.0), np.where(inside, 0.25 + 0.75 * narrow, -1.0)),
    ]
    return np.stack([np.stack(pair, axis=-1) for pair in pairs]).astype(np.float32)


_OUTLINES = _outlines()


def outline(
    kind: jax.Array, depth: jax.Array, lateral: jax.Array, right: jax.Array, down: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Where an object is on the screen; a pixel is covered where `low < up < high`.

    Args:
        kind: `[]` shape plus one, 0 covers nothing.
        depth: `[]` distance along the view, cells.
        lateral: `[]` offset to the right of the view, cells.
        right: `[W]` slope of each pixel column to the right.
        down: `[H]` slope of each pixel row downwards.

    Returns:
        `low [W]` and `high [W]`, the object's lower and upper end in each column, and `up [H]`, the height of each row;
        -1 is its foot and 1 its top.
    """
    across = (right * depth - lateral) / HALF_SIZE
    column = jnp.clip(((across + 1) * 0.5 * _COLUMNS).astype(jnp.int32), 0, _COLUMNS - 1)
    low, high = jnp.asarray(_OUTLINES)[jnp.maximum(kind - 1, 0), column].T
    high = jnp.where((jnp.abs(across) < 1) & (kind > 0), high, -2.0)
    return low, high, (EYE_HEIGHT - down * depth) / HALF_SIZE - 1.0
