"""The page and the curves of a folder of evidence, made from its files alone."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.evidence_summary import FEW, GoalGroups, explored, goal_groups, hardest, other_metrics, side_by_side
from experiments.success import CLOSEST, RANDOM_POLICY, measure
from peg_jax.run.files import RunError
from peg_jax.run.plots import Curve, learning_curves

Evidence = dict[str, Any]
ALL, NEAREST = "mean of all goals", "closest to the goals, mean"  # panels, beside that of the hardest goals
SOLVED = 0.9  # of the episodes, over all goals and toward the hardest
INTRODUCTION = (
    "Made by `python -m experiments.evidence`. Success is the share of episodes in which an evaluation goal was",
    "reached (its cell, where the environment has cells), five per goal unless the command says otherwise. A seed",
    f"has solved it at the first evaluation with {SOLVED} over all goals and toward the farthest, {{far}}.",
    "Lines are means over the seeds, and bands one standard deviation.",
    "",
    "![curves](curves.png)",
    "",
)
CONTROL = (
    "`random_policy` draws uniform actions and does not learn; {episodes} episodes per goal, revision {revision:.10}.",
    "",
)
REACH = (
    "What was explored, by `python -m experiments.reach`: how far an episode went from its start at its farthest, how",
    "far the goals lay that it was given, and the share of episodes that went four fifths of the way to the farthest",
    "evaluation goal; ways are measured along the corridors, in cells or metres.",
    "",
    "![reach](reach.png)",
    "",
    "Means over a run's episodes, with 95 % intervals over the seeds whose replay was at hand:",
    "",
)


def write_page(folder: Path) -> Path:
    """Curves and tables of everything in the folder; returns the page's path."""
    files = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    groups = {name: content for name, content in files.items() if "seeds" in content and "env" in content}
    if not groups:
        raise RunError(f"{folder} holds no evidence; name runs with --runs")
    if len(several := sorted({evidence["env"] for evidence in groups.values()})) > 1:
        raise RunError(f"{folder} holds evidence of {', '.join(several)}; choose another --output for each")
    control = files.get(RANDOM_POLICY)
    others = sorted({evidence["env"] for evidence in groups.values()} - {control["env"]} if control else ())
    if others:
        raise RunError(f"{folder} has runs of {', '.join(others)} beside a control in another environment")
    far, _ = hardest(groups)
    shares = dict.fromkeys((ALL, far, *other_metrics(groups)), (-0.02, 1.02))
    learning_curves(folder / "curves.png", _panels(groups, control), ranges=shares)
    lines = [f"# {folder.name}", "", *(line.format(far=far) for line in INTRODUCTION)]
    if control:
        lines += [line.format(**control) for line in CONTROL]
    if (folder / "reach.png").exists():
        lines += [*REACH, *explored(json.loads((folder / "reach.json").read_text()))]
    lines += side_by_side(groups, control)
    named = goal_groups(groups)
    lines += [line for name, evidence in groups.items() for line in _section(name, evidence, named)]
    page = folder / "README.md"
    page.write_text("\n".join(lines).rstrip() + "\n")
    return page


def _panels(groups: Mapping[str, Evidence], control: Evidence | None) -> dict[str, dict[str, Curve]]:
    """Curves per panel and group; those of the control are flat."""
    panels: dict[str, dict[str, Curve]] = defaultdict(dict)
    (far, goals), others = hardest(groups), other_metrics(groups)
    for name, evidence in groups.items():
        shared = np.array(shared_steps(evidence["seeds"]))
        reached = np.array([seed[measure(seed)][: len(shared)] for seed in evidence["seeds"]])  # [seeds, T, G]
        panels[ALL][name] = (shared, reached.mean(axis=-1))
        panels[far][name] = (shared, reached[..., list(goals)].mean(axis=-1))
        for metric in others:
            table = np.array([seed[metric][: len(shared)] for seed in evidence["seeds"]])
            panels[metric][name] = (shared, table.mean(axis=-1))
        nearest = [seed[CLOSEST][: len(shared)] for seed in evidence["seeds"] if CLOSEST in seed]
        if len(nearest) == len(evidence["seeds"]):
            panels[NEAREST][name] = (shared, np.mean(nearest, axis=-1))
    if control:
        ends = np.array([0, max(seed["env_steps"][-1] for group in groups.values() for seed in group["seeds"])])
        reached = np.asarray(control[measure(control)])
        flat = {ALL: reached, far: reached[list(goals)], NEAREST: control[CLOSEST]}
        flat |= {metric: control[metric] for metric in others}
        for title, scores in flat.items():
            panels[title][RANDOM_POLICY] = (ends, np.full(2, np.mean(scores)))
    return panels


def _section(name: str, evidence: Evidence, named: GoalGroups) -> list[str]:
    """The command and the tables of one preset and method; of many kinds of goals, one column for each kind."""
    seeds = evidence["seeds"]
    count = len(seeds[0][measure(seeds[0])][0])
    columns = named if len(named) > FEW else {f"goal {index}": [index] for index in range(count)}
    far = list(named.values())[-1]
    others = ", and the other seeds likewise, up to the steps of the table" if len(seeds) > 1 else ""
    return [
        f"## {name}",
        "",
        f"`{evidence['command']}`{others}; revision {evidence['revision'][:10]}, {_machine(evidence)}.",
        "",
        f"| seed | env steps | updates | minutes | mean | best mean | solved after | {' | '.join(columns)} |",
        "|---" * (7 + len(columns)) + "|",
        *(_row(seed, columns, far) for seed in seeds),
        "",
        *(line for seed in seeds if CLOSEST in seed for line in (_nearest(seed, columns), "")),
    ]


def shared_steps(seeds: Sequence[Evidence]) -> list[int]:
    """Steps at which every seed was evaluated, of curves that differ in length alone."""
    shortest: list[int] = min((seed["env_steps"] for seed in seeds), key=len)
    return shortest


def _machine(evidence: Evidence) -> str:
    machine = evidence["machine"]
    return f"{machine['cpu_count']} CPU cores, {machine['device_kind']}, jax {machine['jax']}"


def _grouped(scores: Sequence[float], columns: GoalGroups) -> list[float]:
    """Means of scores `[G]` over the goals of each column."""
    return [float(np.mean(np.asarray(scores)[list(goals)])) for goals in columns.values()]


def _nearest(seed: Evidence, columns: GoalGroups) -> str:
    first, last = (", ".join(f"{value:.2f}" for value in _grouped(seed[CLOSEST][index], columns)) for index in (0, -1))
    return f"* Seed {seed['seed']}, closest to each goal at the first evaluation: {first}; at the last: {last}."


def _row(seed: Evidence, columns: GoalGroups, far: Sequence[int]) -> str:
    reached = np.asarray(seed[measure(seed)])  # [T, G]
    means, farthest = reached.mean(axis=-1), reached[:, list(far)].mean(axis=-1)
    cells = [seed["seed"], f"{seed['env_steps'][-1]:,}", f"{seed['updates'][-1]:,}"]
    cells += [f"{seed['wall_seconds'][-1] / 60:.1f}", f"{means[-1]:.2f}", f"{means.max():.2f}"]
    solved = np.flatnonzero(np.minimum(means, farthest) >= SOLVED)
    cells += [f"{seed['wall_seconds'][solved[0]] / 60:.1f} min" if len(solved) else "never"]
    cells += [f"{value:.1f}" for value in _grouped(reached[-1], columns)]
    return "| " + " | ".join(map(str, cells)) + " |"
