"""The methods by name: who chooses the goals, and which kinds of episodes are run.

A new method is one line here; a new way of choosing goals is one more file in `strategies`.
"""

from collections.abc import Mapping
from typing import NamedTuple

from peg_jax.peg.goals import GoalStrategy
from peg_jax.peg.strategies import planned, rare, sampled

ALTERNATE = {"two_policy_every": 0, "achiever_every": 1, "explorer_every": 1}
EXPLORE_ONLY = {"two_policy_every": 0, "explorer_every": 1}
UNPLANNED = ("planner",)


class Method(NamedTuple):
    """A goal strategy, and the cadences of `LoopConfig` that differ from going and exploring in every episode."""

    strategy: GoalStrategy
    cadence: Mapping[str, int] = {}
    idle: tuple[str, ...] = ()  # parts of `PEGConfig` for which it has no use


METHODS: dict[str, Method] = {
    "peg": Method(planned.PEG),
    "peg_kde": Method(planned.PEG_KDE),
    "mega": Method(rare.MEGA, idle=UNPLANNED),
    "skewfit": Method(rare.SKEWFIT, idle=UNPLANNED),
    "lexa": Method(sampled.REPLAYED, ALTERNATE, UNPLANNED),
    "lexa_chunk_starts": Method(sampled.CHUNK_STARTS, ALTERNATE, UNPLANNED),
    "p2e": Method(sampled.REPLAYED, EXPLORE_ONLY, UNPLANNED),
    "random_goals": Method(sampled.UNIFORM, idle=UNPLANNED),
    "env_goals": Method(sampled.ENV_GOALS, idle=UNPLANNED),
}
