"""Figures of a run, drawn from arrays alone. Each function writes a PNG and returns its pixels for TensorBoard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from peg_jax.run.media import write_image

STEPS_LABEL = "environment steps"
DOTS_PER_INCH = 120

Extent = tuple[float, float, float, float]  # x_min, x_max, y_min, y_max
Curve = tuple[np.ndarray, np.ndarray]


def learning_curves(
    path: Path,
    panels: Mapping[str, Mapping[str, Curve]],
    units: Mapping[str, str] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> np.ndarray:
    """Draw one small panel per scalar with a curve per label, and write it to `path` (.png).

    Args:
      path: the file.
      panels: {title: {label: (steps [n], values [n] or [seeds, n])}}; several seeds are drawn as their mean with a band
        of one standard deviation. Values which are not finite leave gaps. A label has one colour in all panels.
      units: {title: what the vertical axis measures}.
      ranges: {title: ends of the vertical axis}; without, it fits the curves.

    Returns:
      The picture, uint8 [H, W, 3].

    Raises:
      RunError: when the disk refuses.
    """
    columns = min(3, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    places = {label: place for curves in panels.values() for place, label in enumerate(curves)}
    labels = list(places)
    width = 4.2 * columns
    beside = legend_columns(labels, width)
    bottom = 0.8 + 0.25 * ((len(labels) - 1) // beside)  # room for each further row of the legend
    height = 2.9 * rows - 0.5 + bottom
    figure = figure_of(width, height, layout=None)  # equal panels need no search for a layout, which takes seconds
    figure.subplots_adjust(
        left=0.6 / width, right=1 - 0.2 / width, top=1 - 0.4 / height, bottom=bottom / height, wspace=0.25, hspace=0.45
    )
    # Neighbours in one panel are no neighbours among the colours, where panels differ in their labels.
    colour_of = dict(zip(sorted(labels, key=places.__getitem__), colours(len(labels)), strict=True))
    for index, (title, curves) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        style(axes, title, STEPS_LABEL, (units or {}).get(title, ""))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        for label, (steps, values) in curves.items():
            _curve(axes, np.asarray(steps), np.asarray(values, np.float64), colour_of[label])
        if ranges and title in ranges:
            axes.set_ylim(*ranges[title])
        if not axes.lines:
            axes.text(0.5, 0.5, "no data yet", transform=axes.transAxes, ha="center", va="center", color="0.5")
            axes.set(xticks=[], yticks=[])
    if len(labels) > 1:
        handles = [Line2D([], [], color=colour_of[label], lw=2, label=label) for label in labels]
        figure.legend(handles=handles, loc="lower center", ncols=beside, frameon=False)
    return finish(figure, path)


def legend_columns(labels: Sequence[str], width: float) -> int:
    """How many of a legend's labels fit beside each other, by the width of their letters, into `width` inches."""
    fits = int(width / (0.6 + 0.085 * max(map(len, labels), default=0)))
    return max(1, min(len(labels), fits))


def goal_map(
    path: Path,
    goals: np.ndarray,
    steps: np.ndarray,
    background: np.ndarray | None,
    extent: Extent,
    title: str = "goals chosen over training",
    axis_labels: tuple[str, str] = ("x", "y"),
) -> np.ndarray:
    """Draw where the chosen goals lie, coloured by when they were chosen, and write it to `path` (.png).

    Args:
      path: the file.
      goals: [n, 2] positions.
      steps: [n] environment steps at which they were chosen.
      background: the environment seen from above, uint8 [H, W, 3], row 0 at y_max; None is plain.
      extent: what the background covers, in the units of `goals`; goals beyond it are counted in the title.
      title: heading.
      axis_labels: with units, such as "x [m]".

    Returns:
      The picture, uint8 [H, W, 3].

    Raises:
      RunError: when the disk refuses.
    """
    figure, axes = _map(background, extent, title, axis_labels)
    order = np.argsort(steps, kind="stable")  # later goals on top
    x, y = goals[order].T
    dots = axes.scatter(x, y, c=steps[order], s=22, cmap="plasma", linewidths=0.4, edgecolors="0.2", zorder=2)
    colour_bar(figure, axes, dots, STEPS_LABEL).formatter = EngFormatter(sep="")
    x_min, x_max, y_min, y_max = extent
    outside = np.sum((goals < (x_min, y_min)) | (goals > (x_max, y_max)), axis=-1) > 0
    if outside.any():
        axes.set_title(f"{title}\n({outside.sum()} of {len(goals)} beyond the map)", loc="left", fontsize=10)
    return finish(figure, path)


def rollout_map(
    path: Path,
    rollouts: np.ndarray,
    goals: np.ndarray,
    scores: np.ndarray,
    background: np.ndarray | None,
    extent: Extent,
    title: str = "best goals and their imagined rollouts",
    axis_labels: tuple[str, str] = ("x", "y"),
) -> np.ndarray:
    """Draw planned goals (stars) and the rollouts towards them, coloured by score, and write it to `path` (.png).

    Args:
      path: the file.
      rollouts: [n, T, 2] positions; a dot marks the start of each.
      goals: [n, 2] positions.
      scores: [n] fitness of each goal.
      background: as for `goal_map`.
      extent: as for `goal_map`.
      title: heading.
      axis_labels: with units.

    Returns:
      The picture, uint8 [H, W, 3].

    Raises:
      RunError: when the disk refuses.
    """
    figure, axes = _map(background, extent, title, axis_labels)
    order = np.argsort(scores, kind="stable")  # the best on top
    x, y = goals[order].T
    stars = axes.scatter(x, y, c=scores[order], s=130, marker="*", cmap="viridis", edgecolors="black", zorder=4)
    for rollout, score in zip(rollouts[order], scores[order], strict=True):
        axes.plot(*rollout.T, color=stars.cmap(stars.norm(score)), lw=1.5, zorder=2)
        axes.plot(*rollout[0], marker="o", ms=4, color="black", zorder=3)
    colour_bar(figure, axes, stars, "goal fitness")
    return finish(figure, path)


def figure_of(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure, sizes in inches, that no window system is needed for."""
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def colours(count: int) -> list[tuple[float, float, float, float]]:
    """Distinct colours; beyond ten they are taken along a colour map rather than repeated."""
    if count <= 10:
        return [matplotlib.colormaps["tab10"](i) for i in range(count)]
    return [matplotlib.colormaps["turbo"](x) for x in np.linspace(0.05, 0.95, count)]


def style(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Headings, small ticks, no upper and right frame."""
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(y_label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _curve(axes: Axes, steps: np.ndarray, values: np.ndarray, colour: tuple[float, float, float, float]) -> None:
    values = np.where(np.isfinite(values), values, np.nan)
    mean = values if values.ndim == 1 else values.mean(axis=0)
    if not np.isfinite(mean).any():
        return
    axes.plot(steps, mean, color=colour, lw=1.6, marker="o" if len(steps) == 1 else None, ms=4)
    if values.ndim == 2:
        spread = values.std(axis=0)
        axes.fill_between(steps, mean - spread, mean + spread, color=colour, alpha=0.2, lw=0)


def _map(
    background: np.ndarray | None, extent: Extent, title: str, axis_labels: tuple[str, str]
) -> tuple[Figure, Axes]:
    """A figure as tall as the map's proportions ask for."""
    x_min, x_max, y_min, y_max = extent
    proportion = np.clip((y_max - y_min) / (x_max - x_min), 0.3, 2.0)
    figure = figure_of(6.0, 4.6 * proportion + 0.8)
    axes = figure.add_subplot()
    style(axes, title, *axis_labels)
    draw_background(axes, background, extent)
    return figure, axes


def draw_background(axes: Axes, background: np.ndarray | None, extent: Extent) -> None:
    """The environment seen from above, faded so that marks stand out, and axes that end where it does."""
    x_min, x_max, y_min, y_max = extent
    if background is not None:
        axes.grid(visible=False)
        axes.imshow(background, extent=extent, alpha=0.55, zorder=0, interpolation="antialiased")
    axes.set(xlim=(x_min, x_max), ylim=(y_min, y_max), aspect="auto" if background is None else "equal")


def colour_bar(figure: Figure, axes: Axes, marks: ScalarMappable, label: str) -> Colorbar:
    """A slim colour bar beside `axes`."""
    bar = figure.colorbar(marks, ax=axes, shrink=0.85)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return bar


def finish(figure: Figure, path: Path) -> np.ndarray:
    """Draw, write to `path` and return the pixels, uint8 [H, W, 3]."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    write_image(path, picture)
    return picture
