"""Returns of imagined trajectories."""

import chex
import jax
import jax.numpy as jnp
import rlax

from peg_jax.core.types import Array


def lambda_return(reward_t: Array, value_tp1: Array, discount: Array | float, lambda_: Array | float) -> Array:
    """TD(lambda) targets, `R_t = r_t + gamma [(1 - lambda) v_{t+1} + lambda R_{t+1}]`, `R_H = v_H`.

    Args:
        reward_t: `[H, ...]` rewards of latents 0..H-1.
        value_tp1: `[H, ...]` values of latents 1..H; the last one is the bootstrap.
        discount: gamma, one number.
        lambda_: the mixing weight, one number.

    Returns:
        `[H, ...]` targets R_0..R_{H-1}.
    """
    chex.assert_equal_shape([reward_t, value_tp1])
    horizon = reward_t.shape[0]
    discounts = jnp.full((horizon,), discount, reward_t.dtype)
    flat = [x.reshape(horizon, -1) for x in (reward_t, value_tp1)]
    returns = jax.vmap(lambda r, v: rlax.lambda_returns(r, discounts, v, lambda_), in_axes=1, out_axes=1)(*flat)
    return returns.reshape(reward_t.shape)
