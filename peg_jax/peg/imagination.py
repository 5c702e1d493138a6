"""Dreams: a policy rolled out in the world model, shared by both actor-critics and the goal planner."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core.distributions import ActionDistribution
from peg_jax.core.remat import lean
from peg_jax.core.types import Array, Key
from peg_jax.peg.rssm import Latent

PolicyFn = Callable[[Array], ActionDistribution]  # feature [N, F] -> distribution over actions [N, A]
DynamicsFn = Callable[[Latent, Array, Key], Latent]  # latent [N], action [N, A], key -> next latent [N]
RewardFn = Callable[[Array, Array, Array], Array]  # feature, action that led here, action taken next -> reward [N]
ValueFn = Callable[[Array], Array]  # feature [N, F] -> value [N]


@struct.dataclass
class Dream:
    """An imagined rollout of H steps from N start states; latents are numbered 0..H."""

    feature: Array  # [H+1, N, F]
    reward: Array  # [H, N], of latents 0..H-1
    value_tp1: Array  # [H, N], of latents 1..H
    entropy: Array  # [H, N], of the policy at latents 0..H-1
    log_prob: Array  # [H, N], of the actions taken there, without gradient through the actions
    last_action: Array  # [N, A], the action that led to latent H


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
    """Roll `policy` out in `dynamics`, scoring each latent on the way.

    The policy sees features without gradient; gradients flow from rewards and values through the latents to the
    actions. The action that led to latent 0 is taken to be zero.

    Args:
        start: latents `[N, ...]`.
        action_size: A.
        policy: distribution over the next action.
        dynamics: one sampled step of the prior.
        reward: score of a latent with the actions around it.
        value: bootstrap value of a latent.
        horizon: H.
        key: for actions and latents.
    """

    def step(carry: tuple[Latent, Array], step_key: Key) -> tuple[tuple[Latent, Array], tuple[Array, ...]]:
        latent, previous_action = carry
        action_key, latent_key = jax.random.split(step_key)
        distribution = policy(jax.lax.stop_gradient(latent.feature))
        action = distribution.sample_action(action_key)
        log_prob = distribution.log_prob(jax.lax.stop_gradient(action))
        following = dynamics(latent, action, latent_key)
        scores = (reward(latent.feature, previous_action, action), value(following.feature))
        return (following, action), (latent.feature, *scores, distribution.entropy(), log_prob)

    no_action = jnp.zeros((*start.deter.shape[:-1], action_size))
    (final, last_action), outputs = jax.lax.scan(lean(step), (start, no_action), jax.random.split(key, horizon))
    feature, rewards, values, entropy, log_prob = outputs
    feature = jnp.concatenate([feature, final.feature[None]])
    return Dream(feature, rewards, values, entropy, log_prob, last_action)


def discount_weights(horizon: int, discount: Array | float) -> Array:
    """`[H]` weights `discount ** t` of the latents 0..H-1."""
    return jnp.asarray(discount, jnp.float32) ** jnp.arange(horizon)
