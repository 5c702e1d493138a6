"""Methods side by side, at equal budgets and with intervals over seeds, for the page of `experiments.evidence`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.intervals import interval
from experiments.success import measure

RESAMPLES = 2_000
LATE = 4  # evaluations
FAR = "goal 0"
EXPLANATION = (
    "Up to the last evaluation that every seed has, {steps:,} steps: the mean over all evaluations (area under the",
    f"curve) for all goals and for {FAR}, the mean over the last {LATE} evaluations for {FAR}, and the share of seeds",
    f"that ever reached {FAR} in nine of ten episodes. In brackets 95 % intervals, a bootstrap over the seeds.",
)


def side_by_side(groups: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines of a section, one row per group of evidence; none where there is nothing to compare."""
    steps = [set(seed["env_steps"]) for group in groups.values() for seed in group["seeds"]]
    shared = np.array(sorted(set.intersection(*steps)))
    if len(groups) < 2 or not len(shared):
        return []
    heads = ["method", "seeds", "all goals", FAR, f"{FAR}, late", f"{FAR} at 0.9"]
    return [
        "## Side by side",
        "",
        *(line.format(steps=int(shared[-1])) for line in EXPLANATION),
        "",
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
        *(_row(name, np.stack([_reached(seed, shared) for seed in group["seeds"]])) for name, group in groups.items()),
        "",
    ]


def _reached(seed: Mapping[str, Any], shared: np.ndarray) -> np.ndarray:
    """Success of a seed, `[T, G]`, at the shared steps."""
    return np.asarray(seed[measure(seed)])[np.isin(seed["env_steps"], shared)]


def _row(name: str, reached: np.ndarray) -> str:
    """A row of the table, of success `[seeds, T, G]`."""
    far = reached[..., 0]
    scores = (reached.mean(axis=(1, 2)), far.mean(axis=1), far[:, -LATE:].mean(axis=1))
    cells = [name, str(len(reached)), *map(_with_interval, scores), f"{(far.max(axis=1) >= 0.9).mean():.2f}"]
    return "| " + " | ".join(cells) + " |"


def _with_interval(scores: np.ndarray) -> str:
    """Of scores `[seeds]`; a single seed has no interval."""
    if len(scores) < 2:
        return f"{scores.mean():.2f}"
    point, bounds = interval(scores[:, None, None], "mean", RESAMPLES)
    # A sum's last bit, which may differ from one processor to the next, must not decide how a half is rounded.
    mean, low, high = (round(float(value), 6) for value in (point[0], *bounds[:, 0]))
    return f"{mean:.2f} ({low:.2f}, {high:.2f})"
