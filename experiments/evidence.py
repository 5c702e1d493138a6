"""Turn runs into evidence: `python -m experiments.evidence --runs runs/a runs/b --output=benchmarks/point_maze`.

Runs are grouped by preset and method into `<preset>_<method>.json`; the page and its curves are made from all such
files in the folder, so they can be made again from committed data alone (no `--runs`).
"""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.cli import main, parse
from experiments.config import MAY_CHANGE, RunConfig
from experiments.evidence_summary import side_by_side
from experiments.labels import changed_options
from experiments.logs import TIMING, read_wall_seconds
from experiments.presets import preset
from experiments.success import SUCCESS, measure
from peg_jax.core.config import require
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError, write_json
from peg_jax.run.metrics import read_metrics
from peg_jax.run.plots import learning_curves

Evidence = dict[str, Any]
CLOSEST = "closest"  # how near the goals the episodes came, in the goal's units
OTHER_RUN = "--r-network="
SOLVED = 0.9  # of the episodes, over all goals and toward goal 0
INTRODUCTION = (
    "Made by `python -m experiments.evidence`. Success is the share of episodes in which an evaluation goal was",
    "reached (its cell, where the environment has cells), five per goal unless the command says otherwise. A seed",
    f"has solved it at the first evaluation with {SOLVED} over all goals and toward goal 0, Point Maze's farthest.",
    "Lines are means over the seeds, and bands one standard deviation.",
    "",
    "![curves](curves.png)",
    "",
)
REACH = (
    "What was explored, by `python -m experiments.reach`: how far an episode went from its start at its farthest, how",
    "far the goals lay that it was given, and the share of episodes that went four fifths of the way to the farthest",
    "evaluation goal; ways are measured along the corridors, in cells or metres.",
    "",
    "![reach](reach.png)",
    "",
)


@dataclasses.dataclass(frozen=True)
class EvidenceConfig:
    """Collect finished or interrupted runs, and write the page and the curves."""

    runs: tuple[str, ...] = ()  # run directories to add
    output: str = "benchmarks/point_maze"  # folder of the evidence, one JSON file per preset and method


def label(config: RunConfig) -> str:
    """The method, and the options by which the run differs from the method's defaults."""
    return changed_options(config, preset(RunConfig, config.preset, config.env, config.method), MAY_CHANGE)


def collect(directory: RunDirectory) -> tuple[str, Evidence]:
    """Name and evidence of one run.

    Raises:
        RunError: no run there, or one without an evaluation.
    """
    config, start = directory.read_config_as(RunConfig), directory.read_starts()[-1]
    wall = read_wall_seconds(directory.path / TIMING)
    seeds = [
        {"seed": config.seed + index} | _evaluations(path / "metrics.jsonl", wall)
        for index, path in enumerate(directory.seed_directories())
    ]
    evidence = {
        "env": config.env,
        "options": label(config),
        "command": portable(start["command"]),
        "revision": start["git_revision"],
        "machine": {name: start[name] for name in ("cpu_count", "backend", "device_kind", "python")}
        | {"jax": start["packages"]["jax"]},
        "seeds": seeds,
    }
    return f"{config.preset}_{config.method}", evidence


def _evaluations(path: Path, wall: dict[int, float]) -> Evidence:
    """One entry per evaluation: environment steps, updates, seconds and success per goal."""
    series = read_metrics(path)
    known = [metric for metric in SUCCESS if f"max_eval_metric_{metric}/goal_all" in series]
    if not known:
        raise RunError(f"{path} has no evaluation yet")
    steps = [int(step) for step in series[f"max_eval_metric_{known[0]}/goal_all"].steps if int(step) in wall]
    if not steps:
        raise RunError(f"{path} has no evaluation of which the time is known yet")
    updates = dict(zip(series["updates"].steps.tolist(), series["updates"].values.tolist(), strict=True))
    found: Evidence = {
        "env_steps": steps,
        "updates": [int(updates[step]) for step in steps],
        "wall_seconds": [wall[step] for step in steps],
    }
    prefixes = {metric: f"max_eval_metric_{metric}" for metric in known} | {CLOSEST: "eval_closest"}
    for metric, prefix in prefixes.items():
        goals = [name for name in series if name.startswith(f"{prefix}/goal_") and name[-1].isdigit()]
        goals.sort(key=lambda name: int(name.rpartition("_")[2]))
        if goals and set(steps) <= set(series[goals[0]].steps.tolist()):  # earlier versions logged no `closest`
            table = np.stack([series[name].values for name in goals], axis=1)
            found[metric] = np.round(table[np.isin(series[goals[0]].steps, steps)], 4).tolist()
    return found


def portable(command: str) -> str:
    """The command as a reader would type it: no interpreter's path, no run directory, that of another under `runs`."""
    words = command.split(" ")
    words = ["python", *words[words.index("-m") :]] if "-m" in words else words
    words = [f"{OTHER_RUN}runs/{Path(word).name}" if word.startswith(OTHER_RUN) else word for word in words]
    return " ".join(word for word in words if not word.startswith("--logdir"))


def add(folder: Path, name: str, evidence: Evidence) -> None:
    """Put a run's seeds into `<name>.json`, in place of earlier ones of the same number; the first one's command stays.

    Raises:
        RunError: the file is of another revision or of other options; such seeds cannot stand beside these.
    """
    path = folder / f"{name}.json"
    earlier = _read(path) if path.exists() else evidence
    for what in ("revision", "options"):
        if earlier.get(what, evidence[what]) != evidence[what]:  # earlier versions did not note the options
            raise RunError(f"{path} is of {what} {earlier[what]}, this run of {evidence[what]}; remove the file")
    seeds = {seed["seed"]: seed for seed in (*earlier["seeds"], *evidence["seeds"])}
    first = min(evidence, earlier, key=lambda content: content["seeds"][0]["seed"])
    write_json(path, first | {"seeds": [seeds[number] for number in sorted(seeds)]})


def _read(path: Path) -> Evidence:
    evidence: Evidence = json.loads(path.read_text())
    return evidence


def write_page(folder: Path) -> Path:
    """Curves and tables of everything in the folder; returns the page's path."""
    files = {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}
    groups = {name: content for name, content in files.items() if "seeds" in content}
    if not groups:
        raise RunError(f"{folder} holds no evidence; name runs with --runs")
    panels: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = defaultdict(dict)
    for name, evidence in groups.items():
        shared = np.array(shared_steps(evidence["seeds"]))
        reached = np.array([seed[measure(seed)][: len(shared)] for seed in evidence["seeds"]])  # [seeds, T, G]
        panels["mean of all goals"][name] = (shared, reached.mean(axis=-1))
        panels["goal 0"][name] = (shared, reached[..., 0])
        nearest = [seed[CLOSEST][: len(shared)] for seed in evidence["seeds"] if CLOSEST in seed]
        if len(nearest) == len(evidence["seeds"]):
            panels["closest to the goals, mean"][name] = (shared, np.mean(nearest, axis=-1))
    shares = dict.fromkeys(("mean of all goals", "goal 0"), (-0.02, 1.02))
    learning_curves(folder / "curves.png", panels, ranges=shares)
    lines = [f"# {folder.name}", "", *INTRODUCTION, *(REACH if (folder / "reach.png").exists() else ())]
    lines += side_by_side(groups)
    lines += [line for name, evidence in groups.items() for line in _section(name, evidence)]
    page = folder / "README.md"
    page.write_text("\n".join(lines).rstrip() + "\n")
    return page


def _section(name: str, evidence: Evidence) -> list[str]:
    """The command and the tables of one preset and method."""
    seeds = evidence["seeds"]
    goals = len(seeds[0][measure(seeds[0])][0])
    others = ", and the other seeds likewise, up to the steps of the table" if len(seeds) > 1 else ""
    return [
        f"## {name}",
        "",
        f"`{evidence['command']}`{others}; revision {evidence['revision'][:10]}, {_machine(evidence)}.",
        "",
        f"| seed | env steps | updates | minutes | mean | best mean | solved after | {_heads(goals)} |",
        "|---" * (7 + goals) + "|",
        *map(_row, seeds),
        "",
        *(line for seed in seeds if CLOSEST in seed for line in (_nearest(seed), "")),
    ]


def shared_steps(seeds: Sequence[Evidence]) -> list[int]:
    """Steps at which every seed was evaluated, of curves that differ in length alone."""
    shortest: list[int] = min((seed["env_steps"] for seed in seeds), key=len)
    return shortest


def _machine(evidence: Evidence) -> str:
    machine = evidence["machine"]
    return f"{machine['cpu_count']} CPU cores, {machine['device_kind']}, jax {machine['jax']}"


def _heads(goals: int) -> str:
    return " | ".join(f"goal {index}" for index in range(goals))


def _nearest(seed: Evidence) -> str:
    first, last = (", ".join(f"{value:.2f}" for value in seed[CLOSEST][index]) for index in (0, -1))
    return f"* Seed {seed['seed']}, closest to each goal at the first evaluation: {first}; at the last: {last}."


def _row(seed: Evidence) -> str:
    reached = seed[measure(seed)]
    means = [float(np.mean(row)) for row in reached]
    cells = [seed["seed"], f"{seed['env_steps'][-1]:,}", f"{seed['updates'][-1]:,}"]
    cells += [f"{seed['wall_seconds'][-1] / 60:.1f}", f"{means[-1]:.2f}", f"{max(means):.2f}"]
    solved = [
        when
        for when, mean, row in zip(seed["wall_seconds"], means, reached, strict=True)
        if min(mean, row[0]) >= SOLVED
    ]
    cells += [f"{solved[0] / 60:.1f} min" if solved else "never"]
    cells += [f"{value:.1f}" for value in reached[-1]]
    return "| " + " | ".join(map(str, cells)) + " |"


def run(arguments: Sequence[str]) -> int:
    """Collect and write as the command line says; returns the exit code."""
    options = parse(EvidenceConfig, arguments, EvidenceConfig())
    folder = Path(options.output)
    for path in options.runs:
        directory = RunDirectory(path)
        require(directory.exists(), "runs", path, "there is no run; it should hold a config.json")
        folder.mkdir(parents=True, exist_ok=True)
        add(folder, *collect(directory))
    Console().print(f"page   {write_page(folder)}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    main(run)
