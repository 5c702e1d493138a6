"""A small array rasteriser: discs, thick lines and upright boxes over a background, smooth at their edges."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Colour = tuple[int, int, int]


class Canvas(NamedTuple):
    """A picture and where it lies in the plane."""

    picture: jax.Array  # [H, W, 3] float32, 0 to 255
    centres: jax.Array  # [H, W, 2] positions of the pixels' centres
    scale: float  # of a pixel, in the plane's units


def blank(size: int, centre: jax.Array | np.ndarray, width: float, colour: Colour) -> Canvas:
    """An empty square canvas of `size` pixels that shows `width` units around `centre [2]`, second axis upward."""
    along = (np.arange(size) + 0.5) / size * width - 0.5 * width
    grid = np.stack(np.broadcast_arrays(along[None, :], along[::-1, None]), axis=-1)
    picture = jnp.broadcast_to(jnp.array(colour, jnp.float32), (size, size, 3))
    return Canvas(picture, jnp.asarray(grid, jnp.float32) + centre, width / size)


def finish(canvas: Canvas) -> jax.Array:
    """The picture, `[H, W, 3]` uint8."""
    return jnp.round(canvas.picture).astype(jnp.uint8)


def lines(canvas: Canvas, start: jax.Array, end: jax.Array, radius: float, colour: Colour) -> Canvas:
    """Lines with round ends from `start [n, 2]` to `end [n, 2]`; a disc where both are the same."""
    points = jnp.stack([start, end, jnp.full_like(end, jnp.nan)], axis=1).reshape(-1, 2)
    return paint(canvas, distance_to_line(canvas.centres, points) - radius, colour)


def boxes(canvas: Canvas, centre: jax.Array | np.ndarray, half: jax.Array | np.ndarray, colour: Colour) -> Canvas:
    """Boxes at `centre [n, 2]` of half-sizes `half [n, 2]`, upright."""
    beyond = jnp.abs(canvas.centres[:, :, None] - centre) - half
    return paint(canvas, beyond.max(axis=-1).min(axis=-1), colour)


def paint(canvas: Canvas, distance: jax.Array, colour: Colour) -> Canvas:
    """Cover what lies inside a shape, given the signed distance `[H, W]` to its edge, negative inside."""
    # Coverage falls from 1 to 0 over the pixel that the edge runs through, which smooths it.
    coverage = jnp.clip(0.5 - distance / canvas.scale, 0.0, 1.0)[..., None]
    return canvas._replace(picture=canvas.picture + coverage * (jnp.array(colour, jnp.float32) - canvas.picture))


def distance_to_line(pixels: jax.Array, trajectory: jax.Array) -> jax.Array:
    """Distance `[H, W]` of pixels `[H, W, 2]` to the line through the rows of `[T, 2]`; infinite if all are NaN."""
    previous = jnp.concatenate([trajectory[:1], trajectory[:-1]])
    start = jnp.where(jnp.isnan(previous), trajectory, previous)  # a row after a gap is a dot
    x, y = pixels[..., 0], pixels[..., 1]

    # Coordinates apart and roots left for the end: one fused, vectorised loop over the pixels per leg.
    def closer(nearest: jax.Array, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        begin, leg = ends[0], ends[1] - ends[0]
        right, up = x - begin[0], y - begin[1]
        share = (right * leg[0] + up * leg[1]) / jnp.maximum(leg[0] ** 2 + leg[1] ** 2, 1e-12)
        share = jnp.clip(share, 0.0, 1.0)
        squared = (right - share * leg[0]) ** 2 + (up - share * leg[1]) ** 2
        return jnp.fmin(nearest, squared), None  # fmin skips NaN

    return jnp.sqrt(jax.lax.scan(closer, jnp.full(x.shape, jnp.inf), (start, trajectory))[0])
