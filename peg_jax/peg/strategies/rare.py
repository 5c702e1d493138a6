"""MEGA and Skew-Fit: goals among the states seen least (Pitis et al. 2020, Pong et al. 2020).

The density is fitted to replayed states at the goal-update cadence; each round of episodes draws fresh candidates.
"""

import jax.numpy as jnp

from peg_jax.core import rng
from peg_jax.core.environment import Task
from peg_jax.core.types import Array, Key
from peg_jax.peg import density
from peg_jax.peg.config import PEGConfig
from peg_jax.peg.density import Density
from peg_jax.peg.goals import DENSITY_SAMPLES, GoalContext, GoalStrategy


def init(task: Task, config: PEGConfig) -> Density:
    """A density of one point; the first episodes come after the first fit."""
    del config
    return density.fit(jnp.zeros((DENSITY_SAMPLES, task.obs_size)))


def fit(context: GoalContext, state: Density, key: Key) -> Density:
    """The density of what the replay holds now."""
    del state
    return density.fit(context.sample_states(key, DENSITY_SAMPLES))


def choose_mega(context: GoalContext, state: Density, key: Key, count: int) -> Array:
    """For each episode the rarest of its candidates.

    The candidates are shared out among the episodes that start together; a single one has them all, as published.
    """
    each = max(1, DENSITY_SAMPLES // count)
    candidates = context.sample_states(key, count * each)
    rarest = density.log_density(state, candidates).reshape(count, each).argmin(axis=1)
    return candidates.reshape(count, each, -1)[jnp.arange(count), rarest]


def choose_skewfit(context: GoalContext, state: Density, key: Key, count: int) -> Array:
    """Candidates drawn with probability proportional to 1 / density."""
    states_key, choice_key = rng.split(key, "states", "choice")
    candidates = context.sample_states(states_key, DENSITY_SAMPLES)
    return density.skewfit_choice(state, candidates, choice_key, count)


MEGA = GoalStrategy(choose_mega, fit, init)
SKEWFIT = GoalStrategy(choose_skewfit, fit, init)
