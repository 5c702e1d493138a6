"""Pictures and animations on disk."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from peg_jax.run.files import replacing

CAPTION_HEIGHT = 17  # pixels


def write_image(path: Path, picture: np.ndarray) -> None:
    """Write `picture`, uint8 [H, W, 3], in the format of the path's suffix, atomically.

    Raises:
      RunError: when the disk refuses.
    """
    _check(picture, 3)
    with replacing(path) as temporary:
        iio.imwrite(temporary, picture, plugin="pillow")


def write_animation(path: Path, frames: np.ndarray, fps: float) -> Path:
    """Write `frames`, uint8 [T, H, W, 3], as an endlessly looping GIF, atomically, and return its path.

    GIF counts time in hundredths of a second and viewers slow down below two of them, so the real rate is the nearest
    of 50, 33.3, 25, 20, ... frames per second. Equal frames in a row are stored once and shown longer.

    Args:
      path: where to write, without suffix.
      frames: the pictures in order.
      fps: wanted frames per second.

    Raises:
      RunError: when the disk refuses.
    """
    _check(frames, 4)
    target = path.with_name(path.name + ".gif")
    hundredths = max(2, round(100 / fps))
    first, *others = _with_one_palette(frames)
    with replacing(target) as temporary:
        first.save(temporary, "GIF", save_all=True, append_images=others, duration=10 * hundredths, loop=0)
    return target


def write_video(path: Path, frames: np.ndarray, fps: float) -> list[Path]:
    """Write `frames`, uint8 [T, H, W, 3], as a GIF, and where imageio-ffmpeg is installed as an MP4 as well.

    Args:
      path: where to write, without suffix.
      frames: the pictures in order.
      fps: wanted frames per second.

    Returns:
      The files.

    Raises:
      RunError: when the disk refuses.
    """
    written = [write_animation(path, frames, fps)]
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return written
    target = path.with_name(path.name + ".mp4")
    even = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    with replacing(target) as temporary:
        iio.imwrite(temporary, even, extension=".mp4", plugin="FFMPEG", fps=fps, macro_block_size=2)
    return [*written, target]


def with_caption(frames: np.ndarray, captions: Sequence[str]) -> np.ndarray:
    """Put a line of text above each of `frames`, uint8 [T, H, W, 3]; a narrow frame is widened to hold it."""
    font = ImageFont.load_default(CAPTION_HEIGHT - 5)
    width = max(frames.shape[2], *(int(font.getlength(caption)) + 8 for caption in captions))
    strips = {caption: _strip(caption, width, font) for caption in captions}
    side = width - frames.shape[2]
    padded = np.pad(frames, ((0, 0), (0, 0), (side // 2, side - side // 2), (0, 0)), constant_values=255)
    return np.concatenate([np.stack([strips[caption] for caption in captions]), padded], axis=1)


def _strip(text: str, width: int, font: Any) -> np.ndarray:
    image = Image.new("RGB", (width, CAPTION_HEIGHT), "white")
    ImageDraw.Draw(image).text((4, 1), text, fill="black", font=font)
    return np.asarray(image)


def _with_one_palette(frames: np.ndarray) -> list[Image.Image]:
    """The frames in 256 colours of the first, middle and last: far quicker than a palette for each."""
    samples = Image.fromarray(np.concatenate(frames[[0, len(frames) // 2, -1]]))
    palette = samples.quantize(256, method=Image.Quantize.MEDIANCUT)
    return [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def tile(pictures: Sequence[np.ndarray], columns: int, padding: int = 2, fill: int = 255) -> np.ndarray:
    """Lay pictures out on a grid, row by row, with `padding` pixels of grey level `fill` between and around them.

    Args:
      pictures: uint8 [..., H, W, 3]; leading dimensions (time, say) are equal, H and W may differ and are centred in
        the largest.
      columns: pictures per row; 1 stacks them, `len(pictures)` lays them side by side.
      padding: pixels.
      fill: 0 is black, 255 white.

    Returns:
      uint8 [..., rows * (max H + padding) + padding, columns * (max W + padding) + padding, 3].
    """
    if not pictures:
        raise ValueError("no pictures to tile")
    height, width = (max(p.shape[axis] for p in pictures) for axis in (-3, -2))
    rows = -(-len(pictures) // columns)
    leading = pictures[0].shape[:-3]
    size = (rows * (height + padding) + padding, columns * (width + padding) + padding)
    sheet = np.full((*leading, *size, 3), fill, np.uint8)
    for index, picture in enumerate(pictures):
        _check(picture, len(leading) + 3)
        row, column = divmod(index, columns)
        top = padding + row * (height + padding) + (height - picture.shape[-3]) // 2
        left = padding + column * (width + padding) + (width - picture.shape[-2]) // 2
        sheet[..., top : top + picture.shape[-3], left : left + picture.shape[-2], :] = picture
    return sheet


def _check(pixels: np.ndarray, ndim: int) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != ndim or pixels.shape[-1] != 3 or not pixels.size:
        raise ValueError(
            f"expected uint8 pixels of {ndim} dimensions, the last being 3; got {pixels.dtype} {pixels.shape}"
        )
