"""Methods side by side, at equal budgets and with intervals over seeds, for the page of `experiments.evidence`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.intervals import interval
from experiments.success import CLOSEST, RANDOM_POLICY, SUCCESS, measure

Scores = Mapping[str, Any]
GoalGroups = Mapping[str, Sequence[int]]
RESAMPLES = 2_000
LATE = 4  # evaluations
FEW = 2  # groups of goals; more have a table of their own
OTHER = ("seed", "command", "env_steps", "updates", "wall_seconds", CLOSEST, *SUCCESS)
"""What a seed's evidence has beside the metrics that only its environment knows."""
EXPLANATION = (
    "Up to the last evaluation that every seed has, {steps:,} steps: the mean over all evaluations (area under the",
    "curve) for all goals and for {far}, the mean over the last {late} evaluations for {far}, the share of seeds that",
    "ever reached {far} in nine of ten episodes and the steps after which half of them first had, and the smallest",
    "distance to a goal in an episode, the mean of all goals in the last {late} evaluations, in their units. In",
    "brackets 95 % intervals, a bootstrap over the seeds.",
)


def goal_groups(groups: Mapping[str, Scores]) -> GoalGroups:
    """The environment's `goal_groups`, as the evidence has them; earlier versions named the first goal alone."""
    return next((group["goal_groups"] for group in groups.values() if "goal_groups" in group), {"goal 0": [0]})


def hardest(groups: Mapping[str, Scores]) -> tuple[str, Sequence[int]]:
    """The group of goals to look at: its name, and their indices."""
    return list(goal_groups(groups).items())[-1]


def other_metrics(groups: Mapping[str, Scores]) -> list[str]:
    """What else every seed was measured by, such as how high a block was."""
    seeds = [set(seed) for group in groups.values() for seed in group["seeds"]]
    return sorted(set.intersection(*seeds).difference(OTHER))


def side_by_side(groups: Mapping[str, Scores], control: Scores | None = None) -> list[str]:
    """Lines of a section, one row per group of evidence and one of the control; none where nothing can be compared."""
    steps = [set(seed["env_steps"]) for group in groups.values() for seed in group["seeds"]]
    shared = np.array(sorted(set.intersection(*steps)))
    if len(groups) < 2 or not len(shared):
        return []
    far, goals = hardest(groups)
    heads = ["method", "seeds", "all goals", far, f"{far}, late", f"{far} at 0.9", "nearest, late"]
    return [
        "## Side by side",
        "",
        *(line.format(steps=int(shared[-1]), far=far, late=LATE) for line in EXPLANATION),
        "",
        *_table(heads),
        *(_row(name, group["seeds"], shared, goals) for name, group in groups.items()),
        *([_control(control, goals)] if control else []),
        "",
        *_by_goals(groups, control, shared),
    ]


def explored(figures: Mapping[str, Scores]) -> list[str]:
    """A table of what `experiments.reach` measured, one row per method: means over whole runs, and late ones."""
    methods: dict[str, list[Scores]] = {}
    for one in filter(lambda one: one["far"], figures.values()):  # some runs have too few episodes for a figure
        methods.setdefault(one["method"], []).append(one)
    rows = []
    for name, seeds in sorted(methods.items()):
        values = {key: [np.asarray(seed[key]) for seed in seeds] for key in ("visited", "goals", "far")}
        means = [np.array([part.mean() for part in values[key]]) for key in ("visited", "goals", "far")]
        late = np.array([part[-LATE:].mean() for part in values["far"]])
        rows.append(_line([name, str(len(seeds)), *map(_with_interval, [*means, late])]))
    heads = ["method", "seeds", "farthest point", "goals", "went far", f"went far, last {LATE}"]
    return [*_table(heads), *rows, ""]


def _by_goals(groups: Mapping[str, Scores], control: Scores | None, shared: np.ndarray) -> list[str]:
    """Late success per group of goals, and what else the environment measures, where there is such."""
    named, others = goal_groups(groups), other_metrics(groups)
    if len(named) <= FEW and not others:
        return []

    def row(name: str, late: Mapping[str, np.ndarray]) -> str:
        """`late[metric] [..., G]`."""
        reached = late[measure(late)]
        scores = [reached[..., list(goals)].mean() for goals in named.values()] + [late[name].mean() for name in others]
        return _line([name, *(f"{score:.2f}" for score in scores)])

    def late(seeds: Sequence[Scores]) -> dict[str, np.ndarray]:
        metrics = [measure(seeds[0]), *others]
        return {name: np.stack([_at(seed, name, shared)[-LATE:] for seed in seeds]) for name in metrics}

    return [
        f"Success in the last {LATE} evaluations, the mean over the seeds, by kind of goal"
        + (f", and the share of episodes with {', '.join(f'`{name}`' for name in others)}:" if others else ":"),
        "",
        *_table(["method", *named, *others]),
        *(row(name, late(group["seeds"])) for name, group in groups.items()),
        *([row(RANDOM_POLICY, {name: np.asarray(control[name]) for name in _metrics(control)})] if control else []),
        "",
    ]


def _metrics(control: Scores) -> list[str]:
    return [name for name, values in control.items() if isinstance(values, list)]


def _at(seed: Scores, metric: str, shared: np.ndarray) -> np.ndarray:
    """A seed's metric at the `shared` steps, `[T, G]`."""
    return np.asarray(seed[metric])[np.isin(seed["env_steps"], shared)]


def _row(name: str, seeds: Sequence[Scores], shared: np.ndarray, goals: Sequence[int]) -> str:
    """A row of the table, of the evaluations at the `shared` steps."""
    reached = np.stack([_at(seed, measure(seed), shared) for seed in seeds])
    far = reached[..., list(goals)].mean(axis=-1)  # [seeds, T]
    scores = (reached.mean(axis=(1, 2)), far.mean(axis=1), far[:, -LATE:].mean(axis=1))
    cells = [name, str(len(seeds)), *map(_with_interval, scores), _first_reached(far, shared)]
    if all(CLOSEST in seed for seed in seeds):
        nearest = np.stack([_at(seed, CLOSEST, shared) for seed in seeds])
        cells.append(_with_interval(nearest[:, -LATE:].mean(axis=(1, 2))))
    else:
        cells.append("")
    return _line(cells)


def _first_reached(far: np.ndarray, steps: np.ndarray) -> str:
    """The share of seeds that ever reached the goal of `far [seeds, T]`, and when half of them first had."""
    reached = far >= 0.9
    first = np.sort(np.where(reached.any(axis=1), steps[reached.argmax(axis=1)], np.inf))
    half = first[(len(first) - 1) // 2]
    return f"{np.isfinite(first).mean():.2f}" + (f", {int(half):,}" if np.isfinite(half) else "")


def _control(control: Scores, goals: Sequence[int]) -> str:
    """The row of the policy that does not learn."""
    reached = np.asarray(control[measure(control)])
    far = f"{reached[list(goals)].mean():.2f}"
    return _line([RANDOM_POLICY, "", f"{reached.mean():.2f}", far, far, "", f"{np.mean(control[CLOSEST]):.2f}"])


def _table(heads: Sequence[str]) -> list[str]:
    return [_line(heads), "|---" * len(heads) + "|"]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _with_interval(scores: np.ndarray) -> str:
    """Of scores `[seeds]`; a single seed has no interval."""
    if len(scores) < 2:
        return f"{scores.mean():.2f}"
    point, bounds = interval(scores[:, None, None], "mean", RESAMPLES)
    # A sum's last bit, which may differ from one processor to the next, must not decide how a half is rounded.
    mean, low, high = (round(float(value), 6) for value in (point[0], *bounds[:, 0]))
    return f"{mean:.2f} ({low:.2f}, {high:.2f})"
