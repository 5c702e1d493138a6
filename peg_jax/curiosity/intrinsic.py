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


class Appraisal(NamedTuple):
    """What a method makes of episodes that it does not learn from."""

    bonus: Array  # float32 [T, N], before `reward.bonus` weighs it
    similarity: Array | None  # float32 [T, N], to the memory; None where a method has none
    remembered: Array | None
    """int32 [T, N, M], after which step each entry of the memory was seen; -1: before the first, -2: no entry."""


class Bonus(NamedTuple):
    """A method's bonus.

    Attributes:
        init: `(key, collector) -> state` for environments that have just begun.
        judge: `(state, rollout, collector, vector_step, key) -> Judged`. Called once per update, after the rollout was
            collected and before PPO learns from it; here a bonus that learns does so. `collector` is where the rollout
            ended; `vector_step` int32 `[]`, the same for all seeds, counts the steps of each environment before it.
        appraise: `(state, rollout, frames, key) -> Appraisal` of episodes from their first step on, with memories of
            their own; `frames` uint8 `[T + 1, N, H, W, C]` begin before the first step.
        bad_updates: `state -> int32 []`, the latest updates in a row of its own networks that were not finite.
        looks: whether it needs `Rollout.frame` where observations are no pictures.
    """

    init: Callable[[Key, Collector], BonusState]
    judge: Callable[[BonusState, Rollout, Collector, Array, Key], Judged]
    appraise: Callable[[BonusState, Rollout, Array, Key], Appraisal]
    bad_updates: Callable[[BonusState], Array]
    looks: bool = False


MakeBonus = Callable[[Task, CuriosityConfig], Bonus]


def stateless(pay: Callable[[Rollout], Array]) -> Bonus:
    """A bonus `[T, N]` that only depends on the rollout."""
    return Bonus(
        init=lambda _key, _collector: None,
        judge=lambda state, rollout, *_: Judged(state, pay(rollout), {}),
        appraise=lambda _state, rollout, *_: Appraisal(pay(rollout), None, None),
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
