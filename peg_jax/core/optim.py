"""The optimiser shared by every network group, and the update that survives a bad gradient."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree

from peg_jax.core.types import Array, Metrics, Params


@struct.dataclass
class OptimizerConfig:
    """Adam in its Keras form with global-norm clipping and decoupled weight decay."""

    learning_rate: float = 8e-5  # step size
    decay: float = 0.0  # the step size after t updates is divided by 1 + decay * t; 0 is constant
    epsilon: float = 1e-5  # added to sqrt(v) before the bias correction, as Keras does
    clip: float = 100.0  # largest global gradient norm
    weight_decay: float = 1e-6  # share of every parameter removed per update, not scaled by the learning rate


class KerasAdamState(NamedTuple):
    """Moments of `scale_by_keras_adam`."""

    step: Array  # int32 [], updates so far
    mu: Params  # first moments
    nu: Params  # second moments


@struct.dataclass
class Learner:
    """Parameters with what their optimiser remembers."""

    params: Params
    opt_state: optax.OptState
    skipped: Array  # int32 [], updates skipped because a gradient was not finite


def scale_by_keras_adam(epsilon: float | Array, b1: float = 0.9, b2: float = 0.999) -> optax.GradientTransformation:
    """Adam whose epsilon is added before the bias correction: `sqrt(1-b2^t)/(1-b1^t) m / (sqrt(v) + eps)`.

    Against optax's form, epsilon acts as `eps / sqrt(1 - b2^t)`: 31.6 times larger in the first step.
    """

    def init(params: Params) -> KerasAdamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return KerasAdamState(jnp.zeros((), jnp.int32), zeros, jax.tree.map(jnp.zeros_like, params))

    def update(grads: Params, state: KerasAdamState, params: Params | None = None) -> tuple[Params, KerasAdamState]:
        del params
        step = state.step + 1
        mu = optax.tree.update_moment(grads, state.mu, b1, 1)
        nu = optax.tree.update_moment(grads, state.nu, b2, 2)
        steps = step.astype(jnp.float32)
        scale = jnp.sqrt(1.0 - b2**steps) / (1.0 - b1**steps)
        updates = jax.tree.map(lambda m, v: scale * m / (jnp.sqrt(v) + epsilon), mu, nu)
        return updates, KerasAdamState(step, mu, nu)

    return optax.GradientTransformation(init, update)


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Clip, Keras-form Adam, then weight decay of the parameters as they were before the step."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        scale_by_keras_adam(config.epsilon),
        optax.scale_by_learning_rate(lambda updates: config.learning_rate / (1.0 + config.decay * updates)),
        optax.add_decayed_weights(-config.weight_decay),
    )


def init_learner(params: Params, config: OptimizerConfig) -> Learner:
    """A learner that has made no update."""
    return Learner(params, make_optimizer(config).init(ravel_pytree(params)[0]), jnp.zeros((), jnp.int32))


def apply_gradients(
    learner: Learner, grads: Params, config: OptimizerConfig, loss: Array | float = 0.0
) -> tuple[Learner, Metrics]:
    """One optimiser step, skipped and counted when any gradient, or the loss, is not finite.

    The optimiser works on one vector of all parameters: a network of many small arrays would otherwise cost the
    compiler several kernels for each of them.

    Args:
        learner: parameters and moments.
        grads: gradients, a tree like the parameters.
        config: the optimiser's numbers.
        loss: what the gradients are of, `[]`.

    Returns:
        `(learner, {"grad_norm"})`; the norm is the one before clipping.
    """
    chex.assert_trees_all_equal_structs(grads, learner.params)
    flat_grads, _ = ravel_pytree(grads)
    flat_params, unravel = ravel_pytree(learner.params)
    norm = optax.tree.norm(flat_grads)
    finite = jnp.isfinite(norm) & jnp.isfinite(loss)
    updates, opt_state = make_optimizer(config).update(flat_grads, learner.opt_state, flat_params)
    params = unravel(jnp.where(finite, flat_params + updates, flat_params))
    opt_state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), opt_state, learner.opt_state)
    return Learner(params, opt_state, learner.skipped + ~finite), {"grad_norm": norm}
