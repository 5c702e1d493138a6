"""Policy improvement by looking one imagined step ahead from every state of a dream.

Walls make the value of a maze jump, so its gradient, which dynamics back-propagation follows, often points the wrong
way; comparing actions needs no gradient. From each state several actions are tried, half drawn from the policy and half
uniformly, and the policy is fitted to them by maximum likelihood, each weighted with the softmax of the value of the
latent it leads to: the two steps of MPO (Abdolmaleki et al., 2018, eqs. 5 and 7) with the world model in place of a
Q-function, and values standardised per state in place of the dual temperature.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from peg_jax.core.types import Array, Key
from peg_jax.peg.imagination import PolicyFn, ValueFn

AdvanceFn = Callable[[Array, Array, Key], Array]  # feature [..., F], action [..., A], key -> next feature [..., F]


def action_weights(values: Array, temperature: Array | float) -> Array:
    """Softmax over the K tried actions of their values, standardised per state; `[K, ...] -> [K, ...]`."""
    spread = values.std(axis=0) + 1e-6
    return jax.nn.softmax((values - values.mean(axis=0)) / (spread * temperature), axis=0)


def propose(policy: PolicyFn, feature: Array, key: Key, samples: int) -> Array:
    """`[K, ..., A]` actions to try at `feature [..., F]`: the first half from the policy, the others uniform."""
    distribution = policy(feature)
    own, uniform = jnp.split(jax.random.split(key, samples), [samples // 2])
    tries = jax.vmap(distribution.sample_action)(own), jax.vmap(distribution.sample_uniform)(uniform)
    return jnp.concatenate(tries)


def try_actions(
    policy: PolicyFn,
    value: ValueFn,
    advance: AdvanceFn,
    feature: Array,
    key: Key,
    samples: int,
    temperature: Array | float,
) -> tuple[Array, Array]:
    """Actions tried at `feature [H, N, F]` and their weights.

    Args:
        policy: the policy as it is.
        value: of a latent, its own reward included.
        advance: one sampled step of the world model.
        feature: states of a dream.
        key: for actions and latents.
        samples: K, actions tried per state, at least 2.
        temperature: of the softmax, in standard deviations of a state's values.

    Returns:
        `(actions [K, H, N, A], weights [K, H, N])`, both without gradient.
    """
    propose_key, advance_key = jax.random.split(key)
    actions = propose(policy, feature, propose_key, samples)
    values = _values(value, advance, feature, actions, advance_key)
    return jax.lax.stop_gradient((actions, action_weights(values, temperature)))


def best_action(policy: PolicyFn, value: ValueFn, advance: AdvanceFn, feature: Array, key: Key, samples: int) -> Array:
    """The best `[N, A]` of K actions at `feature [N, F]`: the policy's mode, and what else `try_actions` would try."""
    propose_key, advance_key = jax.random.split(key)
    actions = propose(policy, feature, propose_key, samples).at[0].set(policy(feature).mode())
    best = jnp.argmax(_values(value, advance, feature, actions, advance_key), axis=0)
    return jnp.take_along_axis(actions, best[None, :, None], axis=0)[0]


def _values(value: ValueFn, advance: AdvanceFn, feature: Array, actions: Array, key: Key) -> Array:
    """`[K, ...]`, of the latents that `actions [K, ..., A]` lead to."""
    keys = jax.random.split(key, actions.shape[0])
    # One action after the other: K times the activations do not fit a CPU's caches.
    return jax.lax.map(lambda tried: value(advance(feature, *tried)), (actions, keys))


def imitation_loss(policy: PolicyFn, feature: Array, actions: Array, weights: Array, entropy: Array | float) -> Array:
    """Minus the weighted log-likelihood of the tried actions and the entropy bonus, averaged over states."""
    distribution = policy(feature)
    likelihood = jnp.sum(weights * jax.vmap(distribution.log_prob)(actions), axis=0)
    return -jnp.mean(likelihood + entropy * distribution.entropy())
