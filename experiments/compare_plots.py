"""Figures of a comparison; each is written as PNG and SVG under a path without suffix."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from experiments.pictures import map_background
from peg_jax.core.environment import Task
from peg_jax.run.files import replacing
from peg_jax.run.plots import DOTS_PER_INCH, STEPS_LABEL, colours, legend_columns, style

Curve = tuple[np.ndarray, np.ndarray, np.ndarray]  # steps [T], aggregate [T], interval [2, T]


def _save(figure: Figure, path: Path) -> None:
    for suffix in (".png", ".svg"):
        with replacing(path.with_name(path.name + suffix)) as temporary:
            figure.savefig(temporary, dpi=DOTS_PER_INCH)


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def curves(
    path: Path,
    panels: Mapping[str, Mapping[str, Curve]],
    label: str = "success",
    limits: tuple[float, float] | None = (-0.02, 1.02),
) -> None:
    """Learning curves with their intervals, one panel per title and one line per method, which has one colour in all.

    `label` and `limits` are of the vertical axis.
    """
    methods = list(dict.fromkeys(method for lines in panels.values() for method in lines))
    colour_of = dict(zip(methods, colours(len(methods)), strict=True))
    drawn = {}
    figure = _figure(5.2 * len(panels), 4.0)
    for axes, (title, lines) in zip(np.ravel(figure.subplots(1, len(panels))), panels.items(), strict=True):
        style(axes, title, STEPS_LABEL, label)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        if limits:
            axes.set_ylim(*limits)
        for method, (steps, value, bounds) in lines.items():
            (drawn[method],) = axes.plot(steps, value, color=colour_of[method])
            axes.fill_between(steps, *bounds, color=colour_of[method], alpha=0.2, linewidth=0)
    columns = legend_columns([*drawn], figure.get_figwidth())
    figure.legend(drawn.values(), drawn, loc="outside lower center", ncols=columns, frameon=False)
    _save(figure, path)


def _bars(axes: Axes, methods: Mapping[str, Mapping[str, Any]], figure_of: str) -> None:
    """One bar per method that has this figure; a method has the same colour in all pictures."""
    rows = [
        (name, colour, method[figure_of], method[f"{figure_of}_interval"])
        for colour, (name, method) in zip(colours(len(methods)), methods.items(), strict=True)
        if figure_of in method
    ]
    for row, (_, colour, point, (low, high)) in enumerate(rows):
        axes.barh(row, high - low, left=low, height=0.6, color=colour, alpha=0.5)
        axes.plot([point, point], [row - 0.3, row + 0.3], color="black", linewidth=1.5)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0.0, 1.0)


def intervals(path: Path, methods: Mapping[str, Mapping[str, Any]], statistic: str) -> None:
    """Final performance of each method with its 95 % interval."""
    figure = _figure(6.0, 1.2 + 0.4 * len(methods))
    axes = figure.subplots()
    style(axes, "success at the end, with its 95 % interval", f"{statistic} over seeds and goals", "")
    _bars(axes, methods, "final")
    _save(figure, path)


def improvement(path: Path, methods: Mapping[str, Mapping[str, Any]], reference: str) -> None:
    """Probability that a seed of the reference beats one of each other method."""
    figure = _figure(6.0, 0.8 + 0.4 * len(methods))
    axes = figure.subplots()
    style(axes, f"probability that {reference} is better than", "", "")
    _bars(axes, methods, "reference_is_better")
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    _save(figure, path)


def heat_map(path: Path, per_goal: Mapping[str, Sequence[float]]) -> None:
    """Final success of each method on each goal."""
    table = np.array(list(per_goal.values()))
    figure = _figure(1.8 + 0.6 * table.shape[1], 1.2 + 0.45 * len(table))
    axes = figure.subplots()
    axes.imshow(table, vmin=0.0, vmax=1.0, cmap="viridis", aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
    axes.set_yticks(range(len(table)), list(per_goal))
    axes.set_xticks(range(table.shape[1]))
    axes.set_xlabel("evaluation goal")
    axes.set_title("success at the end", loc="left", fontsize=10)
    _save(figure, path)


def goal_maps(path: Path, chosen: Mapping[str, tuple[np.ndarray, np.ndarray]], task: Task) -> None:
    """Goals chosen over training by each method's first seed, side by side, coloured by when."""
    background, extent = map_background(task)
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = _figure(3.2 * columns + 0.8, 3.3 * rows)
    latest = max((steps.max() for _, steps in chosen.values() if len(steps)), default=1)
    grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes in grid[len(chosen) :]:
        axes.set_axis_off()
    for axes, (method, (goals, steps)) in zip(grid, chosen.items(), strict=False):
        style(axes, method if len(goals) else f"{method} (no goals)", "", "")
        axes.grid(visible=False)
        if background is not None:
            axes.imshow(background, extent=extent, alpha=0.55, zorder=0)
        dots = axes.scatter(*goals.T, c=steps, vmin=0, vmax=latest, s=6, cmap="plasma")
        axes.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
    bar = figure.colorbar(dots, ax=list(grid), shrink=0.7)
    bar.set_label(STEPS_LABEL, fontsize=9)
    bar.formatter = EngFormatter(sep="")
    _save(figure, path)
