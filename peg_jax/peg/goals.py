"""The contract of goal strategies: who decides where the Go phase goes."""

from collections.abc import Callable
from typing import Any, NamedTuple

from peg_jax.core.environment import Task
from peg_jax.core.replay import Replay, ReplayState
from peg_jax.core.types import Array, Key
from peg_jax.peg.agent import AgentState
from peg_jax.peg.config import PEGConfig

DENSITY_SAMPLES = 10_000  # replay states behind a density, and candidates scored with it

StrategyState = Any  # a pytree of the strategy's own; () where nothing is remembered


class GoalContext(NamedTuple):
    """All that a strategy may look at."""

    task: Task
    config: PEGConfig
    agent: AgentState
    replay: Replay
    replay_state: ReplayState
    obs: Array  # [E, D], first observations of the episodes about to start

    def sample_states(self, key: Key, count: int) -> Array:
        """`[count, D]` stored observations, uniform over the replay."""
        return self.replay.sample_records(self.replay_state, key, count)


def _remember_nothing(task: Task, config: PEGConfig) -> StrategyState:
    del task, config
    return ()


def _keep(context: GoalContext, state: StrategyState, key: Key) -> StrategyState:
    del context, key
    return state


class GoalStrategy(NamedTuple):
    """Pure functions; most strategies are `choose` alone.

    `choose(context, state, key, n) -> goals [n, D]` draws a goal for each of the n episodes about to start.
    `refresh(context, state, key) -> state` does what is costly, at the goal-update cadence.
    `init(task, config) -> state` is what `refresh` starts from; its shapes are those of every later state.
    """

    choose: Callable[[GoalContext, StrategyState, Key, int], Array]
    refresh: Callable[[GoalContext, StrategyState, Key], StrategyState] = _keep
    init: Callable[[Task, PEGConfig], StrategyState] = _remember_nothing
