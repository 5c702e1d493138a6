"""The methods by name: who chooses the goals, and which kinds of episodes are run.

A new method is one line here; a new way of choosing goals is one more file in `strategies`.
"""

from collections.abc import Mapping
from typing import NamedTuple

from peg_jax.peg.goals import GoalStrategy
from peg_jax.peg.strategies import planned, rare, sampled

ALTERNATE = {"two_policy_every": 0, "achiever_every": 1, "explorer_every": 1}
EXPLORE_ONLY = {"two_policy_every": 0, "explorer_every": 1}


class Method(NamedTuple):
    """A goal strategy and the cadences of `LoopConfig` that differ from going and exploring in every episode."""

    strategy: GoalStrategy
    cadence: Mapping[str, int] = {}


METHODS: dict[str, Method] = {
    "peg": Method(planned.PEG),
    "peg_kde": Method(planned.PEG_KDE),
    "mega": Method(rare.MEGA),
    "skewfit": Method(rare.SKEWFIT),
    "lexa": Method(sampled.REPLAYED, ALTERNATE),
    "lexa_chunk_starts": Method(sampled.CHUNK_STARTS, ALTERNATE),
    "p2e": Method(sampled.REPLAYED, EXPLORE_ONLY),
    "random_goals": Method(sampled.UNIFORM),
    "env_goals": Method(sampled.ENV_GOALS),
}
