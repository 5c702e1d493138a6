"""One page about runs, to look at and to send: `python -m experiments.report runs/a runs/b --output=report.html`.

The page is a single HTML file that loads nothing: every picture lies in it.
"""

import base64
import dataclasses
import io
import itertools
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro
from PIL import Image
from rich.console import Console

import envs
from experiments import compare_plots, pictures
from experiments.cli import main, parse
from experiments.config import RunConfig
from experiments.curiosity_trainer import CURVES as CURIOSITY_CURVES
from experiments.find import read_runs
from experiments.logs import GOALS, TIMING, read_goals, read_wall_seconds
from experiments.program import run_task
from experiments.report_page import Figure, RunView, render_page
from experiments.success import SUCCESS_SERIES
from peg_jax.run.config_json import flatten
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError, replacing
from peg_jax.run.metrics import METRICS, Series, read_metrics
from peg_jax.run.plots import Curve, learning_curves
from peg_jax.run.progress import print_line

CURVES = (*pictures.CURVES, *CURIOSITY_CURVES)
RESULTS = (*SUCCESS_SERIES, "test_reward", "test_coverage")  # the first that a run has is shown
WINDOWS = 4  # parts of training whose goals are shown apart
MOST_DOTS = 1_500  # on one map
DRAWN_ANEW = ("learning_curves", "goals")
CAPTIONS = {
    "eval_gc_policy": "a rollout per evaluation goal, the goal above it",
    "train_policy": "the latest training episode, Go phase and Explore phase",
    "openl": "what happened, what the model predicts in open loop, and the difference",
    "top_10_cem": "the planner's best goals and the imagined rollouts toward them",
    "state_occupancy": "visited states, predicted steps to a goal, the explorer's value",
    "episode": "a test episode: the view, and the map",
}


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """Write one HTML page about runs: curves, goals over training, videos, options, machine and revision."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional] = ()  # run directories, or folders of them
    output: str = "runs/report.html"  # the page


class ReadRun(NamedTuple):
    """What a run directory holds, apart from pictures."""

    directory: RunDirectory
    options: dict[str, Any]  # by dotted name
    starts: list[dict[str, Any]]
    series: list[dict[str, Series]]  # per seed
    seconds: dict[int, float]  # of training, after each step


def read_run(directory: RunDirectory) -> ReadRun:
    """The records of a run.

    Raises:
        RunError: there is none, it has not logged anything yet, or its files are damaged.
    """
    options = flatten(directory.read_config())
    if not {"env", "scenario"} & options.keys():
        raise RunError(f"{directory.config_file} names neither an environment nor a scenario")
    series = [read_metrics(path / METRICS) for path in directory.seed_directories()]
    if not all(series):
        raise RunError("nothing has been logged yet")
    starts = [{str(name): value for name, value in start.items()} for start in directory.read_starts()]
    return ReadRun(directory, options, starts, series, read_wall_seconds(directory.path / TIMING))


def task_name(run: ReadRun) -> str:
    """Environment or scenario."""
    return str(run.options.get("env", run.options.get("scenario")))


def stacked(run: ReadRun, name: str) -> Curve | None:
    """A scalar of all seeds at the steps that they share, `[n]` and `[seeds, n]`; `[n]` for a single seed."""
    if not all(name in series for series in run.series):
        return None
    tables = [dict(zip(one[name].steps.tolist(), one[name].values, strict=True)) for one in run.series]
    steps = sorted(set.intersection(*(set(table) for table in tables)))
    values = np.array([[table[step] for step in steps] for table in tables])
    return np.array(steps), values[0] if len(values) == 1 else values


def draw_curves(runs: Sequence[ReadRun], folder: Path) -> Figure:
    """The curves of runs of one task together."""
    panels: dict[str, dict[str, Curve]] = {}
    for name in dict.fromkeys(CURVES):
        found = {_plain(str(run.directory.path)): stacked(run, name) for run in runs}
        if lines := {label: curve for label, curve in found.items() if curve is not None}:
            panels[name] = lines
    learning_curves(folder / "curves.png", panels)
    return embed(folder / "curves.png", "curves", "the scalars over training; of several seeds mean and deviation")


def _plain(text: str) -> str:
    """Keep matplotlib from reading formulas, and from hiding what begins with an underscore."""
    return " " * text.startswith("_") + text.replace("$", r"\$")


def draw_goals(run: ReadRun, folder: Path) -> Figure | None:
    """The goals that the first seed was given in each part of training, on the environment's map.

    Raises:
        RunError: the goals are damaged, or the environment needs a package that is not installed.
        ValueError: this version does not know the environment.
    """
    path = run.directory.seed_directories()[0] / GOALS
    steps, goals = read_goals(path) if path.exists() else (np.zeros(0), np.zeros((0, 2)))
    if not len(goals):
        return None
    if task_name(run) not in envs.registered():
        raise ValueError(f"{task_name(run)} is not an environment of this version")
    task = run_task(RunConfig(env=task_name(run)))
    edges = np.linspace(0, steps.max(), WINDOWS + 1).astype(int)
    windows = {}
    for begin, end in itertools.pairwise(edges):
        inside = (begin < steps) & (steps <= end)
        every = max(1, int(inside.sum()) // MOST_DOTS)
        chosen = goals[inside][::every][:, list(task.env.map_dims)]
        windows[f"{begin:,} to {end:,} steps"] = (chosen, steps[inside][::every])
    compare_plots.goal_maps(folder / "goals", windows, task)
    return embed(folder / "goals.png", "goals", "the goals that the agent was given, in each part of training")


def media(run: ReadRun) -> Iterator[Figure]:
    """The latest picture and animation of each kind, per seed; unreadable ones are left out."""
    for folder in run.directory.seed_directories():
        latest: dict[str, tuple[int, Path]] = {}
        for path in [*folder.glob("media/*.png"), *folder.glob("media/*.gif")]:
            match = re.fullmatch(r"(\w+?)_(\d+)", path.stem)
            kind, step = (match[1], int(match[2])) if match else (path.stem, 0)
            if kind not in DRAWN_ANEW and not path.name.startswith("."):
                latest[kind] = max(latest.get(kind, (step, path)), (step, path))
        for kind, (step, path) in sorted(latest.items()):
            place = "" if folder == run.directory.path else f", {folder.name}"
            try:
                yield embed(path, f"{kind} after {step:,} steps{place}", CAPTIONS.get(kind, ""))
            except (OSError, SyntaxError):  # what Pillow raises for files that are no pictures
                continue


def embed(path: Path, title: str, caption: str) -> Figure:
    """A picture as a data address with its size.

    Raises:
        OSError, SyntaxError: it cannot be read.
    """
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as picture:
        kind, (width, height) = str(picture.format).lower(), picture.size
        picture.verify()
    address = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Figure(address, width, height, title, caption)


def facts(run: ReadRun) -> dict[str, str]:
    """What the run is and how far it came, in words."""
    options, seeds = run.options, len(run.series)
    reached = max(int(one.steps.max()) for series in run.series for one in series.values())
    return {
        "task": task_name(run),
        "method": str(options.get("method", "")),
        "preset": str(options.get("preset", "")),
        "seeds": f"{options.get('seed', 0)}" + (f" and {seeds - 1} after it" if seeds > 1 else ""),
        "steps": f"{reached:,}" + ("" if reached >= options.get("steps", 0) else f" of {options['steps']:,}"),
        "result": _result(run),
        "minutes": f"{max(run.seconds.values(), default=0.0) / 60:.1f}",
        "revision": str(run.starts[-1].get("git_revision"))[:12] if run.starts else "unknown",
    }


def _result(run: ReadRun) -> str:
    for name in RESULTS:
        curve = stacked(run, name)
        if curve is not None and len(curve[0]):
            return f"{np.mean(curve[1][..., -1]):.3g} ({name.partition('/')[0]} at {curve[0][-1]:,})"
    return "not evaluated yet"


def view(run: ReadRun, folder: Path) -> RunView:
    """What the page shows of a run; pictures are drawn in `folder`."""
    figures, notes = [], []
    try:
        goals = draw_goals(run, folder)
        figures += [goals] if goals else []
    except (RunError, ValueError) as error:  # curves and pictures are worth showing all the same
        notes.append(f"no map of goals: {error}")
    name = str(run.directory.path)
    return RunView(name, facts(run), [*figures, *media(run)], notes, run.starts, run.options)


def write_report(runs: Sequence[ReadRun], left_out: Sequence[str], output: Path) -> None:
    """Write the page about `runs`; `left_out` are lines about what else was named.

    Raises:
        DiskError: the disk refuses.
    """
    groups: dict[str, list[ReadRun]] = defaultdict(list)
    for run in runs:
        groups[task_name(run)].append(run)
    with tempfile.TemporaryDirectory() as folder:
        curves = {task: draw_curves(members, Path(folder)) for task, members in groups.items()}
        page = render_page(curves, [view(run, Path(folder)) for run in runs], left_out)
    with replacing(output) as temporary:
        temporary.write_text(page, encoding="utf-8")


def run(arguments: Sequence[str]) -> int:
    """Write the page as the command line says; returns the exit code."""
    options, console, left_out = parse(ReportConfig, arguments, ReportConfig()), Console(), []

    def skipped(line: str) -> None:
        left_out.append(line)
        print_line(console, line)

    runs = read_runs(options.runs, read_run, skipped)
    if not runs:
        raise RunError(f"no run that has logged anything in {', '.join(options.runs)}")
    write_report(runs, left_out, Path(options.output))
    print_line(console, f"page   {options.output}")
    return 0


if __name__ == "__main__":
    main(run)
