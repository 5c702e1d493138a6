"""Proximal policy optimisation (Schulman et al., 2017) as in baselines' PPO2."""

import chex
import jax
import jax.numpy as jnp

from peg_jax.core.types import Array
from peg_jax.curiosity.config import PPOConfig


def advantages(
    reward_t: Array, value_t: Array, done_t: Array, last_value: Array, discount: Array | float, lambda_: Array | float
) -> Array:
    """Generalised advantages, `A_t = delta_t + gamma lambda n_t A_{t+1}`, `delta_t = r_t + gamma n_t v_{t+1} - v_t`.

    `n_t` is 0 where step t ended an episode, be it by the clock: there is no bootstrapping across it.

    Args:
        reward_t: `[T, ...]`.
        value_t: `[T, ...]` values of the states that the steps started from.
        done_t: `[T, ...]` bool, the step ended its episode.
        last_value: `[...]` value of the state after the last step.
        discount: gamma.
        lambda_: the mixing weight.

    Returns:
        `[T, ...]`; adding `value_t` gives the returns.
    """
    chex.assert_equal_shape([reward_t, value_t, done_t])

    def back(carry: tuple[Array, Array], step: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (advantage, value_tp1), (reward, value, done) = carry, step
        goes_on = 1.0 - done
        delta = reward + discount * goes_on * value_tp1 - value
        advantage = delta + discount * lambda_ * goes_on * advantage
        return (advantage, value), advantage

    steps = reward_t, value_t, done_t.astype(reward_t.dtype)
    _, result = jax.lax.scan(back, (jnp.zeros_like(last_value), last_value), steps, reverse=True)
    return result


def normalize(advantage: Array) -> Array:
    """Mean 0 and population deviation 1 over all entries."""
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)


def policy_loss(ratio: Array, advantage: Array, clip: Array | float) -> Array:
    """Per-sample clipped surrogate, negated: `-min(rho A, clip(rho, 1 - c, 1 + c) A)`, `[...]`."""
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return -jnp.minimum(ratio * advantage, clipped * advantage)


def value_loss(value: Array, old_value: Array, target: Array, clip: Array | float) -> Array:
    """`0.5 mean(max((v - R)^2, (v_old + clip(v - v_old, -c, c) - R)^2))`, `[]`."""
    clipped = old_value + jnp.clip(value - old_value, -clip, clip)
    return 0.5 * jnp.mean(jnp.maximum((value - target) ** 2, (clipped - target) ** 2))


def budget(config: PPOConfig, steps: int) -> int:
    """Environment steps that the schedule is laid out for: `steps` times `budget_factor`."""
    return round(steps * config.budget_factor)


def num_updates(config: PPOConfig, steps: int) -> int:
    """Updates within the budget; partial rollouts are left out."""
    return budget(config, steps) // (config.num_envs * config.rollout)


def remaining(config: PPOConfig, update: Array | int, total: Array | int) -> Array:
    """What is left of clip and learning rate in update `update`, from 1: `1 - (update - 1) / total`."""
    if not config.decay:
        return jnp.ones(())
    return jnp.maximum(1.0 - (jnp.asarray(update, jnp.float32) - 1.0) / total, 0.0)
