"""Dreams: a policy rolled out in the world model, shared by both actor-critics and the goal planner."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core.distributions import ActionDistribution
from peg_jax.core.remat import lean
from peg_jax.core.types import Array, Key
from peg_jax.peg.rssm import Latent

PolicyFn = Callable[[Array], ActionDistribution]  # feature [N, F] -> distribution over actions [N, A]
ActFn = Callable[[Array, Key], tuple[Array, tuple[Array, ...]]]  # feature [N, F], key -> action [N, A], what to keep
DynamicsFn = Callable[[Latent, Array, Key], Latent]  # latent [N], action [N, A], key -> next latent [N]
RewardFn = Callable[[Array, Array, Array], Array]  # feature, action that led here, action taken next -> reward [N]
ValueFn = Callable[[Array], Array]  # feature [N, F] -> value [N]


@struct.dataclass
class Rollout:
    """An imagined rollout of H steps from N start states; latents are numbered 0..H."""

    feature: Array  # [H+1, N, F]
    reward: Array  # [H, N], of latents 0..H-1
    value_tp1: Array  # [H, N], of latents 1..H
    last_action: Array  # [N, A], the action that led to latent H


@struct.dataclass
class Dream(Rollout):
    """A policy's rollout, with what its actor is trained by."""

    entropy: Array  # [H, N], of the policy at latents 0..H-1
    log_prob: Array  # [H, N], of the actions taken there, without gradient through the actions


def roll_out(
    start: Latent,
    action_size: int,
    act: ActFn,
    dynamics: DynamicsFn,
    reward: RewardFn,
    value: ValueFn,
    horizon: int,
    key: Key,
) -> tuple[Rollout, tuple[Array, ...]]:
    """Act in `dynamics`, scoring each latent on the way. The action that led to latent 0 is taken to be zero.

    Args:
        start: latents `[N, ...]`.
        action_size: A.
        act: what is done at a latent, and what to keep of each step besides.
        dynamics: one sampled step of the prior.
        reward: score of a latent with the actions around it.
        value: bootstrap value of a latent.
        horizon: H.
        key: for actions and latents.

    Returns:
        `(rollout, what `act` kept, each [H, ...])`.
    """

    def step(carry: tuple[Latent, Array], step_key: Key) -> tuple[tuple[Latent, Array], tuple[Any, ...]]:
        latent, previous_action = carry
        action_key, latent_key = jax.random.split(step_key)
        action, kept = act(latent.feature, action_key)
        following = dynamics(latent, action, latent_key)
        scores = (reward(latent.feature, previous_action, action), value(following.feature))
        return (following, action), (latent.feature, *scores, kept)

    no_action = jnp.zeros((*start.deter.shape[:-1], action_size))
    (final, last_action), outputs = jax.lax.scan(lean(step), (start, no_action), jax.random.split(key, horizon))
    feature, rewards, values, kept = outputs
    return Rollout(jnp.concatenate([feature, final.feature[None]]), rewards, values, last_action), kept


def imagine(
    start: Latent,
    action_size: int,
    policy: PolicyFn,
    dynamics: DynamicsFn,
    reward: RewardFn,
    value: ValueFn,
    horizon: int,
    key: Key,
) -> Dream:
    """`roll_out` of a policy `feature [N, F] -> distribution over the next action`.

    The policy sees features without gradient; gradients flow from rewards and values through the latents to the
    actions.
    """

    def act(feature: Array, key: Key) -> tuple[Array, tuple[Array, ...]]:
        distribution = policy(jax.lax.stop_gradient(feature))
        action = distribution.sample_action(key)
        log_prob = distribution.log_prob(jax.lax.stop_gradient(action))
        return action, (distribution.entropy(), log_prob)

    rollout, (entropy, log_prob) = roll_out(start, action_size, act, dynamics, reward, value, horizon, key)
    return Dream(**vars(rollout), entropy=entropy, log_prob=log_prob)


def discount_weights(horizon: int, discount: Array | float) -> Array:
    """`[H]` weights `discount ** t` of the latents 0..H-1."""
    return jnp.asarray(discount, jnp.float32) ** jnp.arange(horizon)
