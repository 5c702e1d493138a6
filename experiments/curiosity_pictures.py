"""Pictures of an episode with what a method makes of it: the view, the map, and bonus and similarity as curves."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.pictures import enlarged
from peg_jax.run.media import tile, with_caption, write_video
from peg_jax.run.plots import DOTS_PER_INCH, colours, figure_of, finish, style

LEAST_WIDTH = 240  # of the view and of the map, pixels
CHART_HEIGHT, BAR_HEIGHT = 170, 8  # pixels
PAID, UNPAID, CURSOR = (40, 160, 60), (200, 40, 40), (20, 20, 20)


class Watched(NamedTuple):
    """An episode of S steps, of which K are shown; arrays on the host."""

    title: str  # what is done in it
    bonus: np.ndarray  # [S] before its weight
    similarity: np.ndarray | None  # [S] to the memory, where there is one
    cells: np.ndarray  # int [S] visited so far
    remembered: np.ndarray | None  # int [S] entries of the memory
    times: np.ndarray  # int [K] which steps are shown
    view: np.ndarray  # uint8 [K, H, W, 3]
    map: np.ndarray  # uint8 [K, H', W', 3]


def draw_watched(path: Path, watched: Watched, fps: float = 15) -> list[Path]:
    """The curves as a PNG and the whole as a video; `path` has no suffix.

    The bar above the view is green where a step is paid for, and red where it costs or brings nothing.

    Returns:
        The files.
    """
    view, above = enlarged(watched.view, LEAST_WIDTH), enlarged(watched.map, LEAST_WIDTH)
    paid = (watched.bonus[watched.times] > 0)[:, None, None, None]
    bar = np.broadcast_to(np.where(paid, PAID, UNPAID), (len(view), BAR_HEIGHT, view.shape[2], 3)).astype(np.uint8)
    panels = tile([np.concatenate([bar, view], axis=1), above], columns=2)
    still = path.with_name(path.name + ".png")
    chart, columns = draw_chart(still, watched, panels.shape[2])
    charts = np.repeat(chart[None], len(view), axis=0)
    charts[np.arange(len(view)), :, columns[watched.times]] = CURSOR
    frames = with_caption(np.concatenate([panels, charts], axis=1), [caption(watched, time) for time in watched.times])
    return [still, *write_video(path, frames, fps)]


def draw_chart(path: Path, watched: Watched, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Bonus and similarity over time, `width` pixels wide; written to `path`.

    Returns:
        The picture uint8 `[CHART_HEIGHT, width, 3]`, and in which of its columns each step lies, int `[S]`.
    """
    figure = figure_of(width / DOTS_PER_INCH, CHART_HEIGHT / DOTS_PER_INCH)
    axes, steps = figure.add_subplot(), np.arange(1, len(watched.bonus) + 1)
    style(axes, "", "step", "")
    for (name, values), colour in zip(
        (("bonus", watched.bonus), ("similarity", watched.similarity)), colours(2), strict=True
    ):
        if values is not None:
            axes.plot(steps, values, color=colour, lw=1.0, label=name)
    axes.axhline(0.0, color="0.6", lw=0.8)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderpad=0.0, fontsize=7, frameon=False, ncols=2)
    picture = finish(figure, path)
    columns = axes.transData.transform(np.stack([steps, np.zeros_like(steps)], axis=1))[:, 0]
    return picture, np.clip(columns.round().astype(int), 0, picture.shape[1] - 1)


def caption(watched: Watched, time: int) -> str:
    """A step in words."""
    said = f"{watched.title}, step {time + 1}: bonus {watched.bonus[time]:+.2f}"
    if watched.similarity is not None and watched.remembered is not None:
        said += f", similarity {watched.similarity[time]:.2f}, {watched.remembered[time]} remembered"
    return f"{said}, {watched.cells[time]} cells"
