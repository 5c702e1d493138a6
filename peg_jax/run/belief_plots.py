"""Figures of what an agent has seen and believes, drawn from arrays alone; see `plots` for the others."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from peg_jax.run.media import tile
from peg_jax.run.plots import Extent, colours, draw_background, figure_of, finish, style

GO, EXPLORE, GOALS = "tab:blue", "tab:green", "tab:red"


def occupancy_map(
    path: Path,
    title: str,
    visited: np.ndarray,
    exploring: np.ndarray,
    goals: np.ndarray,
    value: np.ndarray,
    distance: tuple[np.ndarray, np.ndarray, np.ndarray],
    distance_goal: np.ndarray,
    background: np.ndarray | None,
    extent: Extent,
    axis_labels: tuple[str, str] = ("x", "y"),
) -> np.ndarray:
    """Draw `state_occupancy` and write it to `path` (.png): three maps of the same places.

    Args:
      path: the file.
      title: heading of the figure.
      visited: [N, 2] states of recent episodes.
      exploring: bool [N], whether a state was visited in the explore phase.
      goals: [G, 2] planned goals of those episodes.
      value: [N] what the explorer expects at the visited states.
      distance: x [W], y [H] and predicted steps [H, W] from there to `distance_goal`.
      distance_goal: [2].
      background: the environment seen from above, uint8 [H, W, 3]; None is plain.
      extent: what the maps cover.
      axis_labels: with units.

    Returns:
      The picture, uint8 [H, W, 3].

    Raises:
      RunError: when the disk refuses.
    """
    x_min, x_max, y_min, y_max = extent
    proportion = np.clip((y_max - y_min) / (x_max - x_min), 0.3, 2.0)
    height = 3.9 * proportion + 1.7
    figure = figure_of(14.0, height, layout=None)  # three equal panels need no search for a layout
    figure.suptitle(title, x=0.01, y=1 - 0.1 / height, ha="left", va="top", fontsize=11)
    bottom, tall = 0.9 / height, 3.9 * proportion / height
    phases, contour, values = (figure.add_axes((left, bottom, 0.26, tall)) for left in (0.045, 0.345, 0.685))
    names = ("visited states and goals", "steps to a goal", "explorer's value")
    across, up = axis_labels
    for axes, name, label in zip((phases, contour, values), names, (up, "", ""), strict=True):
        style(axes, name, across, label)
        draw_background(axes, background, extent)
    _draw_phases(phases, visited, exploring, goals, below=(0.5, -0.5 / (3.9 * proportion)))
    x, y, steps = distance
    steps = np.maximum(steps, 0.0)  # a network's guess may fall below
    levels = contour.contourf(x, y, steps, levels=15, cmap="viridis_r", alpha=0.75, zorder=1)
    contour.plot(*distance_goal, ms=14, marker="*", color=GOALS, markeredgecolor="black", zorder=3)
    _scale(figure, contour, levels, "predicted steps to the star")
    order = np.argsort(value, kind="stable")  # the highest on top
    dots = values.scatter(
        visited[order, 0], visited[order, 1], c=value[order], s=7, cmap="plasma", linewidths=0, zorder=2
    )
    _scale(figure, values, dots, "value")
    return finish(figure, path)


def _draw_phases(
    axes: Axes, visited: np.ndarray, exploring: np.ndarray, goals: np.ndarray, below: tuple[float, float]
) -> None:
    """`below` is where the legend hangs, in units of the axes: clear of their label however flat they are."""
    for chosen, colour in ((~exploring, GO), (exploring, EXPLORE)):
        axes.scatter(visited[chosen, 0], visited[chosen, 1], s=7, color=colour, alpha=0.5, linewidths=0, zorder=2)
    axes.scatter(goals[:, 0], goals[:, 1], s=45, color=GOALS, marker="*", linewidths=0.3, edgecolors="black", zorder=3)
    shown = [_dot(GO, "Go phase"), _dot(EXPLORE, "Explore phase"), _dot(GOALS, "planned goals", "*")]
    axes.legend(handles=shown, loc="upper center", bbox_to_anchor=below, ncols=3, frameon=False, fontsize=8)


def _scale(figure: Figure, axes: Axes, marks: ScalarMappable, label: str) -> None:
    """A colour bar that leaves its axes as large as they are."""
    bar = figure.colorbar(marks, cax=axes.inset_axes((1.02, 0.0, 0.035, 1.0)))
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)


def _dot(colour: str, label: str, marker: str = "o") -> Line2D:
    return Line2D([], [], color=colour, marker=marker, ls="", label=label)


def open_loop_sheet(
    path: Path, title: str, times: np.ndarray, truth: np.ndarray, model: np.ndarray, error: np.ndarray, context: int
) -> np.ndarray:
    """Draw `openl` and write it to `path` (.png): truth, model and their difference, and the error over time.

    Args:
      path: the file.
      title: heading of the figure.
      times: [C] steps of the pictures.
      truth: [S, C, H, W, 3] uint8, what happened in S sequences.
      model: the same as the model has it.
      error: [R, T+1] of R sequences, the first S of which are shown.
      context: records that the model has seen; after them it predicts in open loop.

    Returns:
      The picture, uint8 [H, W, 3].

    Raises:
      RunError: when the disk refuses.
    """
    difference = (0.5 * (model.astype(np.float32) - truth) + 127.5).round().astype(np.uint8)
    rows = [pictures[i] for i in range(len(truth)) for pictures in (truth, model, difference)]
    names = [f"{name} {i + 1}" for i in range(len(truth)) for name in ("truth", "model", "error")]
    # One picture of all of them: a frame for each would take seconds.
    sheet = tile([picture for row in rows for picture in row], columns=len(times))
    width = 9.5
    tall = (width - 1.1) * sheet.shape[0] / sheet.shape[1]
    height = tall + 2.7
    figure = figure_of(width, height, layout=None)
    figure.suptitle(title, x=0.02, y=1 - 0.1 / height, ha="left", va="top", fontsize=11)
    axes = figure.add_axes((1.0 / width, 2.0 / height, 1 - 1.1 / width, tall / height))
    axes.imshow(sheet, extent=(0, len(times), len(rows), 0), aspect="auto")
    shown = [f"step {time}" + (" (seen)" if time < context else "") for time in times]
    axes.set_xticks(np.arange(len(times)) + 0.5, shown, fontsize=8)
    axes.set_yticks(np.arange(len(rows)) + 0.5, names, fontsize=9)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    _error_curves(figure.add_axes((1.0 / width, 0.5 / height, 1 - 1.1 / width, 1.1 / height)), error, context)
    return finish(figure, path)


def _error_curves(axes: Axes, error: np.ndarray, context: int) -> None:
    style(axes, "", "step", "mean error")
    for index, (sequence, colour) in enumerate(zip(error, colours(len(error)), strict=True)):
        axes.plot(sequence, color=colour, lw=1.3, label=f"sequence {index + 1}")
    axes.axvline(context - 0.5, color="0.3", ls="--", lw=1)
    axes.set(xlim=(0, error.shape[1] - 1), ylim=(0, None))
    axes.text(context, axes.get_ylim()[1], " open loop from here", va="top", fontsize=8, color="0.3")
    axes.legend(loc="upper left", bbox_to_anchor=(0.25, 1.35), ncols=len(error), frameon=False, fontsize=7)
