"""Which success counts: by cell, where the environment has cells, or else by distance."""

from collections.abc import Container

SUCCESS = ("success_cell", "success")
CLOSEST = "closest"
"""How near the goals the episodes came, in the goals' units."""
RANDOM_POLICY = "random_policy"
"""The control's name in evidence."""
SUCCESS_SERIES = tuple(f"max_eval_metric_{metric}/goal_all" for metric in SUCCESS)
"""Their names among the logged scalars, over all goals."""


def measure(known: Container[str]) -> str:
    """The first of `SUCCESS` that is known."""
    return next(metric for metric in SUCCESS if metric in known)
