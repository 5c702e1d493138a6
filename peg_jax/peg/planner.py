"""Which goal to pursue: a search over goal vectors for the one from which exploring pays most.

The optimiser knows nothing of agents: it maximises a batched score over vectors inside bounds.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core.returns import lambda_return
from peg_jax.core.types import Array, Key
from peg_jax.peg.config import PlannerConfig

FitnessFn = Callable[[Array, Key], Array]  # goals [N, D], key -> score [N]


@struct.dataclass
class GoalDistribution:
    """Diagonal Gaussian over goals."""

    mean: Array  # [D]
    std: Array  # [D]


@struct.dataclass
class Plan:
    """Result of a search."""

    distribution: GoalDistribution  # the refitted Gaussian
    goals: Array  # [N, D] the last iteration's candidates, best first
    fitness: Array  # [N] their scores
    history: GoalDistribution  # [iterations, D], after each refit


def goal_fitness(reward: Array, value_tp1: Array, config: PlannerConfig) -> Array:
    """Score of the goals from the explorer's view of the imagined Go phases (Hu et al. 2023).

    With `use_value`, the sum of the last `final_steps` lambda-returns (all of them for 0); otherwise the plain sum of
    the rewards, `final_steps` ignored as published.

    Args:
        reward: `[Hp, N]` explorer rewards of latents 0..Hp-1, or `[Hp+1, N]` for the plain sum.
        value_tp1: `[Hp, N]` explorer slow values of latents 1..Hp.
        config: discount and variant; the mixing weight is the published 0.95.

    Returns:
        `[N]`.
    """
    if not config.use_value:
        return reward.sum(axis=0)
    returns = lambda_return(reward[: value_tp1.shape[0]], value_tp1, config.discount, 0.95)
    return returns[-config.final_steps :].sum(axis=0)


def refit_cem(goals: Array, fitness: Array, count: int) -> GoalDistribution:
    """Mean and deviation of the best `count` goals, the elites; `std = sqrt(population variance + 1e-6)`."""
    _, best = jax.lax.top_k(fitness, count)
    elites = goals[best]
    return GoalDistribution(elites.mean(axis=0), jnp.sqrt(elites.var(axis=0) + 1e-6))


def refit_mppi(goals: Array, fitness: Array, temperature: Array | float) -> GoalDistribution:
    """Mean and deviation under weights `softmax(temperature * fitness)`, the deviation about the new mean.

    Nothing keeps the deviation from collapsing to 0, as published; `PlannerConfig.min_std` sets a floor.
    """
    weights = jax.nn.softmax(temperature * fitness)[:, None]
    mean = jnp.sum(weights * goals, axis=0)
    return GoalDistribution(mean, jnp.sqrt(jnp.sum(weights * jnp.square(goals - mean), axis=0)))


def refit(goals: Array, fitness: Array, config: PlannerConfig) -> GoalDistribution:
    """The configured refit with its floor."""
    if config.kind == "cem":
        fitted = refit_cem(goals, fitness, elite_count(config))
    else:
        fitted = refit_mppi(goals, fitness, config.temperature)
    return dataclasses.replace(fitted, std=jnp.maximum(fitted.std, config.min_std))


def search(
    fitness_fn: FitnessFn,
    start: GoalDistribution,
    low: Array,
    high: Array,
    seeds: Array,
    key: Key,
    config: PlannerConfig,
) -> Plan:
    """Maximise `fitness_fn` by iterated sampling, scoring and refitting.

    Candidates are clipped to the bounds before they are scored; nothing is carried over between iterations but the
    Gaussian. `seeds` replace the first candidates of the first iteration (the original only took their mean). With
    `repeat_samples` R, each candidate's score is the mean of R evaluations of it (the original averaged different
    candidates). With `evaluate_only` there is one iteration; goals are then drawn among
    the elites (`draw_elites`).

    Args:
        fitness_fn: batched score, stochastic under its key.
        start: the first Gaussian.
        low: `[D]` lower bounds.
        high: `[D]` upper bounds.
        seeds: `[S, D]`, S from 0 to the number of candidates.
        key: for candidates and scores.
        config: kind, sizes, ratios.
    """

    def evaluate(goals: Array, key: Key) -> Array:
        repeats = config.repeat_samples
        if repeats == 1:
            return fitness_fn(goals, key)
        return fitness_fn(jnp.repeat(goals, repeats, axis=0), key).reshape(-1, repeats).mean(axis=1)

    def iterate(
        distribution: GoalDistribution, index: Array
    ) -> tuple[GoalDistribution, tuple[Array, Array, GoalDistribution]]:
        sample_key, score_key = jax.random.split(jax.random.fold_in(key, index))
        goals = sample_goals(distribution, sample_key, config.candidates)
        seeded = jnp.concatenate([seeds, goals[seeds.shape[0] :]])
        goals = jnp.clip(jnp.where(index == 0, seeded, goals), low, high)
        fitness = evaluate(goals, score_key)
        distribution = refit(goals, fitness, config)
        return distribution, (goals, fitness, distribution)

    iterations = 1 if config.evaluate_only else config.iterations
    distribution, (goals, fitness, history) = jax.lax.scan(iterate, start, jnp.arange(iterations))
    best_first = jnp.argsort(-fitness[-1])
    goals, fitness = goals[-1][best_first], fitness[-1][best_first]
    return Plan(distribution, goals, fitness, history)


def sample_goals(distribution: GoalDistribution, key: Key, count: int) -> Array:
    """`[count, D]` draws; not clipped."""
    noise = jax.random.normal(key, (count, distribution.mean.shape[0]))
    return distribution.mean + distribution.std * noise


def count_of(share: float, config: PlannerConfig) -> int:
    """`floor(share * candidates)`; 0.29 of 100 are 29, which the product of floats is a hair below."""
    return int(share * config.candidates + 1e-6)


def elite_count(config: PlannerConfig) -> int:
    """Candidates that count as elites."""
    return count_of(config.elite_ratio, config)


def draw_elites(goals: Array, fitness: Array, key: Key, count: int) -> Array:
    """`[count, D]` draws among `goals [C, D]`, in proportion to their scores `fitness [C]`.

    Scores of which some are negative, such as log densities, have an arbitrary zero: they are counted from the least.
    """
    least = jnp.min(fitness, where=jnp.isfinite(fitness), initial=0.0)  # 0, or the least of the negative ones
    score = fitness - least
    chosen = jax.random.categorical(key, jnp.log(jnp.maximum(score, 1e-6)), shape=(count,))
    return goals[chosen]
