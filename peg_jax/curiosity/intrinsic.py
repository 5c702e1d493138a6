"""The contract between PPO and whatever pays for exploration, and its two simplest cases.

A bonus is a few pure functions over a state of its own, which lies in `SeedState.bonus`: nothing else of it survives a
restart. They are written for one seed; `training` calls them and maps over seeds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from peg_jax.core.types import Array, Key, Metrics
from peg_jax.curiosity import oracle
from peg_jax.curiosity.config import CuriosityConfig
from peg_jax.curiosity.rollout import Collector, Rollout
from peg_jax.curiosity.task import Task

BonusState = Any


class Judged(NamedTuple):
    """What a rollout was found to be worth."""

    state: BonusState
    bonus: Array  # float32 [T, N], before `reward.bonus` weighs it
    metrics: Metrics  # scalars; NaN where there is nothing to tell, which logs leave out


class Bonus(NamedTuple):
    """A method's bonus.

    Attributes:
        init: `(key, collector) -> state` for environments that have just begun.
        judge: `(state, rollout, collector, vector_step, key) -> Judged`. Called once per update, after the rollout was
            collected and before PPO learns from it; here a bonus that learns does so. `collector` is where the rollout
            ended; `vector_step` int32 `[]`, the same for all seeds, counts the steps of each environment before it.
        bad_updates: `state -> int32 []`, the latest updates in a row of its own networks that were not finite.
    """

    init: Callable[[Key, Collector], BonusState]
    judge: Callable[[BonusState, Rollout, Collector, Array, Key], Judged]
    bad_updates: Callable[[BonusState], Array]


MakeBonus = Callable[[Task, CuriosityConfig], Bonus]


def stateless(pay: Callable[[Rollout], Array]) -> Bonus:
    """A bonus `[T, N]` that only depends on the rollout."""
    return Bonus(
        init=lambda _key, _collector: None,
        judge=lambda state, rollout, *_: Judged(state, pay(rollout), {}),
        bad_updates=lambda _state: jnp.zeros((), jnp.int32),
    )


def no_bonus(task: Task, config: CuriosityConfig) -> Bonus:
    """Nothing on top of the task's reward."""
    del task, config
    return stateless(lambda rollout: jnp.zeros(rollout.done.shape))


def grid_oracle(task: Task, config: CuriosityConfig) -> Bonus:
    """A payment for each cell of the grid that is entered for the first time in the episode."""
    del task
    return stateless(lambda rollout: oracle.bonus(config.oracle, rollout.new_cell))
