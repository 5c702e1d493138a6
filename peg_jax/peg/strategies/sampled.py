"""Goals drawn without a search: LEXA's replayed states, and two controls."""

import jax

from peg_jax.core.types import Array, Key
from peg_jax.peg.goals import GoalContext, GoalStrategy, StrategyState


def _replayed(context: GoalContext, state: StrategyState, key: Key, count: int) -> Array:
    del state
    return context.sample_states(key, count)


def _chunk_starts(context: GoalContext, state: StrategyState, key: Key, count: int) -> Array:
    del state
    return context.replay.sample(context.replay_state, key, count).obs[0]


def _uniform(context: GoalContext, state: StrategyState, key: Key, count: int) -> Array:
    del state
    low, high = context.task.goal_low, context.task.goal_high
    return jax.random.uniform(key, (count, context.task.obs_size), minval=low, maxval=high)


def _env_goals(context: GoalContext, state: StrategyState, key: Key, count: int) -> Array:
    del state
    return context.task.env.sample_goals(key, count, context.task.params)


REPLAYED = GoalStrategy(_replayed)  # LEXA as its paper has it: uniform over all stored states
CHUNK_STARTS = GoalStrategy(_chunk_starts)  # the released code only ever takes the first state of a sequence
UNIFORM = GoalStrategy(_uniform)  # in the planner's bounds
ENV_GOALS = GoalStrategy(_env_goals)  # the environment's own training goals
