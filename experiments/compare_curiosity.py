"""The table of a study of curiosity: methods by scenarios, with intervals, for `experiments.compare`."""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments import compare_plots
from experiments.curiosity_config import MAY_CHANGE, USERS, CuriosityRunConfig, idle_parts, preset
from experiments.intervals import interval
from experiments.labels import changed_options, name_of_seeds
from experiments.programs import PROGRAMS
from peg_jax.run.config_json import encode, flatten
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError, write_json
from peg_jax.run.metrics import read_metrics

REFERENCE = "ppo"
"""Whose score the others' are multiples of."""
OF_A_BONUS = (*(f"--{part}." for part in USERS), "--r-network=", "--reward.bonus=")
"""Options that PPO without a bonus has not."""


class Explorer(NamedTuple):
    """A run with what it scored in test episodes."""

    directory: RunDirectory
    config: CuriosityRunConfig
    steps: np.ndarray  # int [T] of its evaluations
    scores: np.ndarray  # [seeds, T]


class Curve(NamedTuple):
    """What the seeds of one method scored in a scenario."""

    steps: np.ndarray  # int [T] at which all of them were evaluated
    scores: np.ndarray  # [seeds, T]


def read_explorer(directory: RunDirectory) -> Explorer:
    """A run of `experiments.episodic_curiosity`.

    Raises:
        RunError: it has no evaluation yet, or cannot be read.
    """
    config = directory.read_config_as(CuriosityRunConfig)
    (name,) = PROGRAMS["episodic_curiosity"].score(config)[1]
    series = [read_metrics(path / "metrics.jsonl") for path in directory.seed_directories()]
    if not series or any(name not in one for one in series):
        raise RunError(f"{directory.path} has no evaluation yet")
    length = min(len(one[name].values) for one in series)
    scores = np.stack([one[name].values[:length] for one in series])
    return Explorer(directory, config, series[0][name].steps[:length].astype(int), scores)


def label(config: CuriosityRunConfig, ignored: Sequence[str] = ()) -> str:
    """The method, and its options by which the run differs from the method's defaults, but for those `ignored`.

    R-networks of runs that differ in a number at the end of their name, as seeds do, count as one.
    """
    config = dataclasses.replace(config, r_network=name_of_seeds(config.r_network))
    idle = idle_parts(config.method)
    unused = [name for name in flatten(encode(config)) if name.partition(".")[0] in idle]
    default = preset(config.preset, config.scenario, config.method)
    return changed_options(config, default, (*MAY_CHANGE, *ignored, *unused))


def gather(runs: Sequence[Explorer]) -> dict[str, dict[str, Curve]]:
    """Curves by scenario and method.

    Raises:
        RunError: the runs of a method were never evaluated after the same number of steps.
    """
    members: dict[tuple[str, str], list[Explorer]] = defaultdict(list)
    for run in runs:
        members[f"{run.config.scenario} ({run.config.metric})", label(run.config)].append(run)
    curves: dict[str, dict[str, Curve]] = defaultdict(dict)
    for (scenario, method), group in sorted(members.items()):
        shared = sorted(set.intersection(*(set(run.steps.tolist()) for run in group)))
        if not shared:
            names = ", ".join(str(run.directory.path) for run in group)
            raise RunError(f"{names} were never evaluated after the same number of steps; give them equal --eval-every")
        rows = [run.scores[:, np.isin(run.steps, shared)] for run in group]
        curves[scenario][method] = Curve(np.array(shared), np.concatenate(rows))
    return curves


def summarise(curves: Mapping[str, Curve], resamples: int) -> dict[str, Any]:
    """Figures of the methods of one scenario at the last evaluation that all of them share.

    Raises:
        RunError: there is none.
    """
    shared = sorted(set.intersection(*(set(one.steps.tolist()) for one in curves.values())))
    if not shared:
        raise RunError("the methods were never evaluated after the same number of steps; give them equal cadences")
    table: dict[str, Any] = {}
    for method, one in curves.items():
        final = one.scores[:, np.searchsorted(one.steps, shared[-1])]
        point, bounds = interval(final[:, None, None], "mean", resamples)
        table[method] = {
            "seeds": len(final),
            "scores": final.round(4).tolist(),
            "mean": float(point[0]),
            "interval": [float(bound) for bound in bounds[:, 0]],
        }
    for method, row in table.items():
        reference = table.get(_reference(method), {}).get("mean", 0.0)
        if reference > 0:
            row["times_reference"] = row["mean"] / reference
    return {"env_steps": shared[-1], "methods": table}


def _reference(method: str) -> str:
    """The label of the reference in the same world: what sets a bonus apart, the reference has not."""
    return " ".join([REFERENCE, *(word for word in method.split()[1:] if not word.startswith(OF_A_BONUS))])


def write_study(runs: Sequence[Explorer], output: Path, resamples: int) -> Path:
    """Curves, figures and the table of all scenarios; returns the page.

    Raises:
        RunError: there is nothing that can be compared.
    """
    curves = gather(runs)
    figures = {scenario: summarise(methods, resamples) for scenario, methods in curves.items()}
    panels = {
        scenario: {
            method: (one.steps, *interval(one.scores[:, None], "mean", resamples)) for method, one in methods.items()
        }
        for scenario, methods in curves.items()
    }
    output.mkdir(parents=True, exist_ok=True)
    compare_plots.curves(output / "curiosity", panels, label="test episodes", limits=None)
    write_json(output / "curiosity.json", figures)
    page = output / "curiosity.md"
    page.write_text(_page(figures))
    return page


def _page(figures: Mapping[str, Any]) -> str:
    scenarios = list(figures)
    methods = sorted({method for one in figures.values() for method in one["methods"]})
    what = "First episodes in test mazes: mean over seeds, its 95 % interval, and in brackets the multiple of"
    lines = ["# Curiosity", "", what, f"`{REFERENCE}` and the number of seeds.", ""]
    lines += ["| method | " + " | ".join(scenarios) + " |", "|---" * (1 + len(scenarios)) + "|"]
    for method in methods:
        cells = [_cell(figures[scenario]["methods"].get(method)) for scenario in scenarios]
        lines.append("| " + " | ".join([method, *cells]) + " |")
    after = "; ".join(f"{scenario}: {one['env_steps']:,} steps" for scenario, one in figures.items())
    return "\n".join([*lines, "", f"Environment steps: {after}.", "", "![curves](curiosity.png)"]) + "\n"


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    low, high = row["interval"]
    times = f"x{row['times_reference']:.2f}, " if "times_reference" in row else ""
    return f"{row['mean']:.1f}, {low:.1f} to {high:.1f} ({times}n={row['seeds']})"
