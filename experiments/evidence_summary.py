"""Methods side by side, at equal budgets and with intervals over seeds, for the page of `experiments.evidence`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.intervals import interval
from experiments.success import CLOSEST, RANDOM_POLICY, measure

RESAMPLES = 2_000
LATE = 4  # evaluations
FAR = "goal 0"
EXPLANATION = (
    "Up to the last evaluation that every seed has, {steps:,} steps: the mean over all evaluations (area under the",
    f"curve) for all goals and for {FAR}, the mean over the last {LATE} evaluations for {FAR}, the share of seeds that",
    f"ever reached {FAR} in nine of ten episodes and the steps after which half of them first had, and the smallest",
    f"distance to a goal in an episode, the mean of all goals in the last {LATE} evaluations, in their units. In",
    "brackets 95 % intervals, a bootstrap over the seeds.",
)


def side_by_side(groups: Mapping[str, Mapping[str, Any]], control: Mapping[str, Any] | None = None) -> list[str]:
    """Lines of a section, one row per group of evidence and one of the control; none where nothing can be compared."""
    steps = [set(seed["env_steps"]) for group in groups.values() for seed in group["seeds"]]
    shared = np.array(sorted(set.intersection(*steps)))
    if len(groups) < 2 or not len(shared):
        return []
    heads = ["method", "seeds", "all goals", FAR, f"{FAR}, late", f"{FAR} at 0.9", "nearest, late"]
    return [
        "## Side by side",
        "",
        *(line.format(steps=int(shared[-1])) for line in EXPLANATION),
        "",
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
        *(_row(name, group["seeds"], shared) for name, group in groups.items()),
        *([_control(control)] if control else []),
        "",
    ]


def _row(name: str, seeds: Sequence[Mapping[str, Any]], shared: np.ndarray) -> str:
    """A row of the table, of the evaluations at the `shared` steps."""
    at = [np.isin(seed["env_steps"], shared) for seed in seeds]
    reached = np.stack([np.asarray(seed[measure(seed)])[kept] for seed, kept in zip(seeds, at, strict=True)])
    far = reached[..., 0]  # [seeds, T]
    scores = (reached.mean(axis=(1, 2)), far.mean(axis=1), far[:, -LATE:].mean(axis=1))
    cells = [name, str(len(seeds)), *map(_with_interval, scores), _first_reached(far, shared)]
    if all(CLOSEST in seed for seed in seeds):
        nearest = np.stack([np.asarray(seed[CLOSEST])[kept] for seed, kept in zip(seeds, at, strict=True)])
        cells.append(_with_interval(nearest[:, -LATE:].mean(axis=(1, 2))))
    else:
        cells.append("")
    return "| " + " | ".join(cells) + " |"


def _first_reached(far: np.ndarray, steps: np.ndarray) -> str:
    """The share of seeds that ever reached the goal of `far [seeds, T]`, and when half of them first had."""
    reached = far >= 0.9
    first = np.sort(np.where(reached.any(axis=1), steps[reached.argmax(axis=1)], np.inf))
    half = first[(len(first) - 1) // 2]
    return f"{np.isfinite(first).mean():.2f}" + (f", {int(half):,}" if np.isfinite(half) else "")


def _control(control: Mapping[str, Any]) -> str:
    """The row of the policy that does not learn."""
    reached = control[measure(control)]
    cells = [f"{np.mean(reached):.2f}", *2 * [f"{reached[0]:.2f}"], "", f"{np.mean(control[CLOSEST]):.2f}"]
    return "| " + " | ".join([RANDOM_POLICY, "", *cells]) + " |"


def _with_interval(scores: np.ndarray) -> str:
    """Of scores `[seeds]`; a single seed has no interval."""
    if len(scores) < 2:
        return f"{scores.mean():.2f}"
    point, bounds = interval(scores[:, None, None], "mean", RESAMPLES)
    # A sum's last bit, which may differ from one processor to the next, must not decide how a half is rounded.
    mean, low, high = (round(float(value), 6) for value in (point[0], *bounds[:, 0]))
    return f"{mean:.2f} ({low:.2f}, {high:.2f})"
