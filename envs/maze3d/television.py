"""A noisy television: something in the view that changes for no reason.

It fills the lower right quarter of the view with one of some pictures or with noise, and switches at each step or only
when the agent fires.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze3d import textures

PICTURES = 30
_KNOTS = 6  # random colours along a picture's edge, between which it is smooth


@dataclasses.dataclass(frozen=True)
class Television:
    """What it shows and when it switches."""

    shows: Literal["image", "noise"] = "noise"
    switches: Literal["step", "action"] = "step"


def overlay(television: Television, screen: jax.Array, view: jax.Array) -> jax.Array:
    """The view `[H, W, 3]` uint8 with the television in it.

    Args:
        television: what is on.
        screen: `[]` uint32, seed of the picture.
        view: what the agent sees.
    """
    height, width = view.shape[0] // 2, view.shape[1] // 2
    if television.shows == "image":
        shown = jnp.asarray(_pictures(height, width))[screen % PICTURES]
    else:
        word = textures.hashed(screen, jnp.arange(height)[:, None], jnp.arange(width))
        shown = jnp.stack([(word >> shift) % 255 for shift in (0, 8, 16)], axis=-1).astype(jnp.uint8)
    return view.at[-height:, -width:].set(shown)


def _pictures(height: int, width: int) -> np.ndarray:
    """`[PICTURES, height, width, 3]` uint8: smooth fields of random colours, always the same."""
    knots = np.random.default_rng(0).uniform(0, 255, (PICTURES, _KNOTS, _KNOTS, 3))
    y, x = np.linspace(0, _KNOTS - 1.001, height), np.linspace(0, _KNOTS - 1.001, width)
    row, column = y.astype(int), x.astype(int)
    part_y, part_x = (y % 1)[:, None, None], (x % 1)[:, None]
    upper, lower = knots[:, row], knots[:, row + 1]
    left = upper[:, :, column] * (1 - part_y) + lower[:, :, column] * part_y
    right = upper[:, :, column + 1] * (1 - part_y) + lower[:, :, column + 1] * part_y
    return (left * (1 - part_x) + right * part_x).astype(np.uint8)
