"""Plan2Explore: an ensemble of one-step predictors whose disagreement is the explorer's reward (Sekar et al. 2020).

The stored and imagined action at t is the one that led to latent t, so the released ensemble is conditioned on the
previous action. `condition="previous_action"` keeps that; `"next_action"` is the textbook alignment, the action
about to be taken.
"""

from functools import partial

import jax
import jax.numpy as jnp

from peg_jax.core.distributions import unit_normal_log_prob
from peg_jax.core.nets import MLP, Network
from peg_jax.core.optim import Learner, apply_gradients
from peg_jax.core.types import Array, Metrics, Params
from peg_jax.peg.config import DisagreementConfig
from peg_jax.peg.rssm import Latent


def predict(net: Network, params: Params, inputs: Array) -> Array:
    """Predictions of all members, `[N, F + A] -> [members, N, S]`.

    The members are one batched tree of parameters. Accelerators take them in one batched product; a CPU is faster at
    one member after the other, whose activations stay in its caches.
    """
    return jax.lax.platform_dependent(params, inputs, cpu=partial(_in_turn, net), default=partial(_at_once, net))


def _at_once(net: Network, params: Params, inputs: Array) -> Array:
    return jax.vmap(partial(_apply, net), in_axes=(0, None))(params, inputs)


def _in_turn(net: Network, params: Params, inputs: Array) -> Array:
    # Unrolled: a loop would copy each member's weights out of the batched tree every time around.
    members = jax.tree.leaves(params)[0].shape[0]
    return jnp.stack([_apply(net, jax.tree.map(lambda x, i=i: x[i], params), inputs) for i in range(members)])


def _apply(net: Network, member: Params, inputs: Array) -> Array:
    if isinstance(net, MLP):
        return net.apply(member, inputs)
    feature, action = jnp.split(inputs, [net.inputs], axis=-1)
    return net.apply(member, feature, net.apply(member, action, method="embed_context"))


def intrinsic_reward(predictions: Array, config: DisagreementConfig) -> Array:
    """Population standard deviation over the members, averaged over the latent's dimensions.

    Args:
        predictions: `[members, ..., S]`.
        config: scale and optional logarithm.

    Returns:
        `[...]`.
    """
    spread = jnp.std(predictions, axis=0).mean(axis=-1)
    return config.scale * (jnp.log(spread) if config.log else spread)


def reward(net: Network, params: Params, inputs: Array, config: DisagreementConfig) -> Array:
    """Intrinsic reward `[N]` of `[feature, action]` rows `[N, F + A]`."""
    return intrinsic_reward(predict(net, params, inputs), config)


def training_data(latents: Latent, action: Array, size: int, config: DisagreementConfig) -> tuple[Array, Array]:
    """Inputs and targets from posterior sequences.

    Args:
        latents: `[T, B, ...]`.
        action: `[T, B, A]`, each the action that led into its record.
        size: S, the leading entries of the stochastic state that are predicted.
        config: the alignment.

    Returns:
        `(inputs [(T-1) B, F + A], targets [(T-1) B, S])`: the next posterior sample is the target, less what is
        computed from it.
    """
    aligned = action[:-1] if config.condition == "previous_action" else action[1:]
    inputs = jnp.concatenate([latents.feature[:-1], aligned], axis=-1)
    return inputs.reshape(-1, inputs.shape[-1]), latents.stoch[1:, ..., :size].reshape(-1, size)


def loss(params: Params, net: Network, inputs: Array, targets: Array) -> Array:
    """Sum over the members of the mean negative log-likelihood; same data for all, no bootstrap."""
    return -unit_normal_log_prob(predict(net, params, inputs), targets).mean(axis=-1).sum()


def update(
    learner: Learner, net: Network, latents: Latent, action: Array, config: DisagreementConfig
) -> tuple[Learner, Metrics]:
    """One gradient step of all members on a batch of posterior sequences."""
    inputs, targets = training_data(latents, action, net.outputs, config)
    value, grads = jax.value_and_grad(loss)(learner.params, net, inputs, targets)
    learner, norm = apply_gradients(learner, grads, config.optimizer, value)
    return learner, {"expl_expl_loss": value, "expl_expl_grad_norm": norm["grad_norm"]}
