"""Compare methods over seeds: `python -m experiments.compare --runs runs/study`.

Runs are grouped by environment and method, with the options that differ from the method's preset. Intervals are
bootstraps over the seeds, see `intervals`. Runs of Episodic Curiosity make a table of their own, see
`compare_curiosity`.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from rich.console import Console

from experiments import compare_plots
from experiments.cli import main, parse
from experiments.compare_curiosity import Explorer, read_explorer, write_study
from experiments.config import RunConfig
from experiments.evidence import collect
from experiments.evidence_page import Evidence
from experiments.extras import load
from experiments.find import read_runs
from experiments.intervals import interval, probability_of_improvement
from experiments.logs import GOALS, read_goals
from experiments.program import run_task
from experiments.programs import program_of
from experiments.success import measure
from peg_jax.core.config import require
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError, write_json
from peg_jax.run.progress import print_line

SHOWN_GOALS = 2_000  # dots on a map of goals
REACHED = 0.9  # success at which a goal counts as solved


@dataclasses.dataclass(frozen=True)
class CompareConfig:
    """Draw and tabulate what runs of several methods reached."""

    runs: tuple[str, ...] = ()  # run directories, or folders of them
    output: str = "runs/comparison"  # folder for pictures and tables; one folder per environment below it
    metric: Literal["auto", "success", "success_cell"] = "auto"  # what counts as success (auto: by cell where known)
    statistic: Literal["iqm", "mean"] = "mean"  # over seeds and goals; iqm leaves the outer quarters out
    far_goal: int = 0  # evaluation goal shown on its own
    reference: str = ""  # method whose probability of improvement over the others is shown; none: peg, if it is there
    resamples: int = 1_000  # of the bootstrap


class FoundRun(NamedTuple):
    """A run with its evaluations."""

    directory: RunDirectory
    env: str
    method: str  # with the options that differ from its preset's
    seeds: list[Evidence]
    goal_steps: np.ndarray  # [n] when the first seed was given its goals
    goals: np.ndarray  # [n, D] which
    revision: str


class Scores(NamedTuple):
    """What the seeds of one method reached."""

    metric: str  # which success it is
    steps: np.ndarray  # [T] environment steps at which all its seeds were evaluated
    success: np.ndarray  # [seeds, G, T]
    goals: np.ndarray  # [n, D] goals commanded in the first seed's run
    goal_steps: np.ndarray  # [n] when


def find_runs(paths: Sequence[str], console: Console) -> list[FoundRun | Explorer]:
    """The runs named by `paths` or lying in them; what is none is named on the console and left out.

    So is a run of seeds that an earlier one had. One that has not come to its end is named.
    """
    known: set[tuple[str, str, int]] = set()

    def read(directory: RunDirectory) -> FoundRun | Explorer:
        if program_of(directory) == "episodic_curiosity":
            return read_explorer(directory)
        config, evidence = directory.read_config_as(RunConfig), collect(directory)[1]
        method, seeds = evidence["options"], evidence["seeds"]
        again = [seed["seed"] for seed in seeds if (config.env, method, seed["seed"]) in known]
        if again:
            raise RunError(f"seed {again[0]} of {method} was in a run before")
        goals = read_goals(directory.seed_directories()[0] / GOALS)
        known.update((config.env, method, seed["seed"]) for seed in seeds)
        last = min(seed["env_steps"][-1] for seed in seeds)
        if last < config.steps:
            print_line(console, f"{directory.path} ends at {last:,} of {config.steps:,} steps, and so does its method")
        return FoundRun(directory, config.env, method, seeds, *goals, evidence["revision"] or "unknown")

    return read_runs(paths, read, lambda line: print_line(console, line))


def gather(runs: Sequence[FoundRun | Explorer], metric: str) -> dict[str, dict[str, Scores]]:
    """Scores of PEG and its baselines by environment and method; methods by name.

    Raises:
        RunError: the runs of a method were never evaluated after the same number of steps, or not by `metric`.
    """
    members: dict[tuple[str, str], list[FoundRun]] = defaultdict(list)
    for run in runs:
        if isinstance(run, FoundRun):
            members[run.env, run.method].append(run)
    scores: dict[str, dict[str, Scores]] = defaultdict(dict)
    for (env, method), group in sorted(members.items()):
        scores[env][method] = _stack(group, metric)
    return scores


def _stack(group: Sequence[FoundRun], metric: str) -> Scores:
    seeds = [seed for run in group for seed in run.seeds]
    shared = sorted(set.intersection(*(set(seed["env_steps"]) for seed in seeds)))
    if not shared:
        names = ", ".join(str(run.directory.path) for run in group)
        raise RunError(f"{names} were never evaluated after the same number of steps; give them equal --eval-every")
    name = measure(seeds[0]) if metric == "auto" else metric
    if any(name not in seed for seed in seeds):
        raise RunError(f"--metric={name} cannot work: {group[0].directory.path} has only {measure(seeds[0])}")
    rows = [[seed[name][seed["env_steps"].index(step)] for step in shared] for seed in seeds]
    steps, goals = group[0].goal_steps, group[0].goals
    every = max(1, len(goals) // SHOWN_GOALS)
    return Scores(name, np.array(shared), np.array(rows).transpose(0, 2, 1), goals[::every], steps[::every])


def reference_among(methods: Sequence[str], wanted: str) -> str | None:
    """The method that others are compared with: the one called so, or the only one of that name with other options.

    Raises:
        ConfigError: the one that is wanted is none of them, or several can be meant.
    """
    name = wanted or "peg"
    meant = [name] if name in methods else [method for method in methods if method.split()[0] == name]
    known = f"name one of these: {', '.join(sorted(methods))}"
    require(not wanted or len(meant) == 1, "reference", name, known)
    return meant[0] if len(meant) == 1 else None


def summarise(scores: dict[str, Scores], options: CompareConfig) -> dict[str, Any]:
    """Figures per method at the last evaluation that all methods share."""
    shared = sorted(set.intersection(*(set(one.steps.tolist()) for one in scores.values())))
    if not shared:
        raise RunError("the methods were never evaluated after the same number of steps; give them equal cadences")
    table: dict[str, Any] = {}
    metric = next(iter(scores.values())).metric
    final = {method: one.success[..., np.searchsorted(one.steps, shared[-1])] for method, one in scores.items()}
    for method, one in scores.items():
        within = one.steps <= shared[-1]
        point, bounds = interval(final[method][..., None], options.statistic, options.resamples)
        far = one.success[:, options.far_goal].mean(axis=0)
        solved = one.steps[far >= REACHED]
        table[method] = {
            "seeds": len(one.success),
            "final": float(point[0]),
            "final_interval": [float(bound) for bound in bounds[:, 0]],
            "area_under_curve": float(one.success[..., within].mean()),
            "per_goal": final[method].mean(axis=0).round(4).tolist(),
            "far_goal": float(final[method][:, options.far_goal].mean()),
            "steps_to_solve_far_goal": int(solved[0]) if len(solved) else None,
        }
    reference = reference_among([*scores], options.reference)
    if reference:
        for method in scores.keys() - {reference}:
            chance, around = probability_of_improvement(final[reference], final[method], options.resamples)
            table[method] |= {"reference_is_better": chance, "reference_is_better_interval": around}
    return {
        "env_steps": shared[-1],
        "statistic": options.statistic,
        "metric": metric,
        "reference": reference,
        "methods": table,
    }


def write_comparison(env: str, scores: dict[str, Scores], options: CompareConfig, task: Any) -> Path:
    """Pictures and tables of one environment; returns the page."""
    folder = Path(options.output) / env
    folder.mkdir(parents=True, exist_ok=True)
    summary = summarise(scores, options)
    curves = {
        title: {
            method: (one.steps, *interval(one.success[:, goals], options.statistic, options.resamples))
            for method, one in scores.items()
        }
        for title, goals in (("all goals", slice(None)), (f"goal {options.far_goal}", [options.far_goal]))
    }
    compare_plots.curves(folder / "curves", curves)
    compare_plots.intervals(folder / "final", summary["methods"], options.statistic)
    compare_plots.heat_map(folder / "goals", {m: row["per_goal"] for m, row in summary["methods"].items()})
    shown = list(task.env.map_dims)
    chosen = {m: (one.goals[:, shown], one.goal_steps) for m, one in scores.items()}
    compare_plots.goal_maps(folder / "chosen", chosen, task)
    pictures = ["curves", "final", "goals", "chosen"]
    if any("reference_is_better" in row for row in summary["methods"].values()):
        compare_plots.improvement(folder / "improvement", summary["methods"], summary["reference"])
        pictures.append("improvement")
    write_json(folder / "comparison.json", summary)
    page = folder / "README.md"
    page.write_text(_page(env, summary, options, pictures))
    return page


def _page(env: str, summary: dict[str, Any], options: CompareConfig, pictures: Sequence[str]) -> str:
    heads = ["method", "seeds", f"{options.statistic} (95 %)", "area under curve", f"goal {options.far_goal}"]
    heads += [f"steps until goal {options.far_goal} ≥ {REACHED}", f"{summary['reference'] or 'reference'} is better"]
    lines = [f"# {env}", "", f"After {summary['env_steps']:,} environment steps, `{summary['metric']}`.", ""]
    lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for method, row in sorted(summary["methods"].items(), key=lambda item: -item[1]["area_under_curve"]):
        low, high = row["final_interval"]
        around = f" ({low:.2f} to {high:.2f})" if row["seeds"] > 1 else ""
        solved = row["steps_to_solve_far_goal"]
        chance = row.get("reference_is_better")
        cells = [method, str(row["seeds"]), f"{row['final']:.2f}{around}"]
        cells += [f"{row['area_under_curve']:.2f}", f"{row['far_goal']:.2f}", f"{solved:,}" if solved else "never"]
        cells += ["" if chance is None else f"{chance:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"![{name}]({name}.png)" for name in pictures)]) + "\n"


def run(arguments: Sequence[str]) -> int:
    """Compare as the command line says; returns the exit code."""
    options, console = parse(CompareConfig, arguments, CompareConfig()), Console()
    require(options.resamples >= 1, "resamples", options.resamples, "it must be at least 1")
    load("rliable")
    runs = find_runs(options.runs, console)
    revisions = sorted({run.revision for run in runs if isinstance(run, FoundRun)})
    if len(revisions) > 1:
        print_line(console, f"runs of several revisions stand side by side: {', '.join(revisions)}")
    if not runs:
        raise RunError(f"no run with an evaluation in {', '.join(options.runs)}")
    explorers = [run for run in runs if isinstance(run, Explorer)]
    if explorers:
        console.print(f"page   {write_study(explorers, Path(options.output), options.resamples)}", soft_wrap=True)
    compared = gather(runs, options.metric)
    for env, scores in compared.items():
        if reference_among([*scores], options.reference) is None:
            console.print(f"{env}: name a --reference to see how probably it is better", soft_wrap=True)
    for env, scores in compared.items():
        last = next(iter(scores.values())).success.shape[1] - 1
        far = f"{env} has evaluation goals 0 to {last}"
        require(0 <= options.far_goal <= last, "far_goal", options.far_goal, far)
        task = run_task(RunConfig(env=env))
        console.print(f"page   {write_comparison(env, scores, options, task)}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    main(run)
