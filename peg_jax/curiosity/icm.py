"""Intrinsic curiosity (Pathak et al., 2017): steps are worth how badly their outcome was foreseen.

Features of pictures are learned by telling the action from the pictures
before and after a step; the forward model foresees the features after it. As published with PPO, the features are
learned by the forward error as well: it is not kept from flowing into them.

Where this differs: the original adds its loss to PPO's, multiplies both by 20 and clips the gradient of all together,
so that PPO's share of a step is whatever the clipping leaves. Here the module has an optimiser of its own. A
step that ended an episode, whose next picture is of the next episode, is neither paid nor learned from.
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import rng
from peg_jax.core.optim import Learner, OptimizerConfig, apply_gradients, init_learner
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.curiosity.config import CuriosityConfig, ICMConfig
from peg_jax.curiosity.intrinsic import Appraisal, Bonus, Judged
from peg_jax.curiosity.networks import Convolution, orthogonal
from peg_jax.curiosity.rollout import Collector, Rollout
from peg_jax.curiosity.task import Task

_HIDDEN_GAIN = math.sqrt(2.0)


@struct.dataclass
class ICMState:
    """What the module has learned."""

    learner: Learner
    bad_updates: Array  # int32 [], the latest updates in a row of which a minibatch was skipped as not finite


class Foreseen(NamedTuple):
    """What the networks make of steps."""

    features: Array  # [..., F] of the picture after the step
    predicted: Array  # [..., F] what the forward model takes them for
    logits: Array  # [..., A] of the action


class Transitions(NamedTuple):
    """Steps to learn from, `[B, ...]` each."""

    before: Array  # uint8 [B, H, W, C]
    after: Array  # uint8 [B, H, W, C]
    action: Array  # int32 [B]
    whole: Array  # bool [B], both pictures are of one episode


class ICM(nn.Module):
    """Features of pictures, what comes after them, and what was done between them."""

    actions: int
    config: ICMConfig

    def setup(self) -> None:
        """The layers."""
        config, features = self.config, num_features(self.config)
        self.convolutions = [Convolution(config.channels, 3, 2) for _ in range(config.layers)]
        self.forward_model = _two_layers(config.units, features)
        self.inverse_model = _two_layers(config.units, self.actions)

    def encode(self, pictures: Array) -> Array:
        """`[B, H, W, C]` in 0..255 -> `[B, F]`."""
        x = pictures.astype(jnp.float32) / 255.0
        x = jax.image.resize(x, (x.shape[0], self.config.size, self.config.size, x.shape[3]), "linear")
        for convolution in self.convolutions:
            (pads,) = jax.lax.padtype_to_pads(x.shape[1:2], (3,), (2,), "SAME")
            x = nn.elu(convolution(jnp.pad(x, ((0, 0), pads, pads, (0, 0)))))
        return x.reshape(x.shape[0], -1)

    def foresee(self, before: Array, after: Array, action: Array) -> Foreseen:
        """From features `[B, F]` before and after steps, and their actions int32 `[B]`."""
        done = jax.nn.one_hot(action, self.actions)
        predicted = self.forward_model(jnp.concatenate([before, done], axis=-1))
        return Foreseen(after, predicted, self.inverse_model(jnp.concatenate([before, after], axis=-1)))

    def __call__(self, steps: Transitions) -> Foreseen:
        """Pictures and actions to what is made of them."""
        features = self.encode(jnp.concatenate([steps.before, steps.after]))
        before, after = jnp.split(features, 2)
        return self.foresee(before, after, steps.action)


def _two_layers(units: int, outputs: int) -> nn.Sequential:
    hidden = nn.Dense(units, kernel_init=orthogonal(_HIDDEN_GAIN))
    return nn.Sequential([hidden, nn.relu, nn.Dense(outputs, kernel_init=orthogonal(1.0))])


def num_features(config: ICMConfig) -> int:
    """Length of the features; 288 as published."""
    edge = config.size
    for _ in range(config.layers):
        edge = -(-edge // 2)
    return edge * edge * config.channels


def forward_error(features: Array, predicted: Array) -> Array:
    """`F / 2 mean((predicted - features)^2)`: two `[..., F]` -> `[...]`."""
    return 0.5 * features.shape[-1] * jnp.mean((predicted - features) ** 2, axis=-1)


def inverse_loss(logits: Array, action: Array) -> Array:
    """Cross entropy of the action: `[..., A]`, int32 `[...]` -> `[...]`."""
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], axis=-1)[..., 0]


def auxiliary_loss(forward: Array, inverse: Array, config: ICMConfig) -> Array:
    """`S (q f + (1 - q) i)`: what the module minimises, `[...]`."""
    return config.scale * (config.forward_share * forward + (1.0 - config.forward_share) * inverse)


def pay(forward: Array, config: ICMConfig) -> Array:
    """The bonus for a forward error, `eta f` clipped to [-1, 1]: `[...]`."""
    return jnp.clip(config.eta * forward, -1.0, 1.0)


def icm(task: Task, config: CuriosityConfig) -> Bonus:
    """Curiosity as a bonus.

    Raises:
        ValueError: actions are not discrete, or there are no pictures.
    """
    if not task.discrete or not task.frame_shape:
        raise ValueError("intrinsic curiosity needs discrete actions and pictures")
    net = ICM(task.actions, config.icm)
    optimizer = OptimizerConfig(
        learning_rate=config.icm.learning_rate,
        epsilon=config.ppo.adam_epsilon,
        clip=config.ppo.max_grad_norm,
        weight_decay=0.0,
    )

    def init(key: Key, _: Collector) -> ICMState:
        picture, nothing = jnp.zeros((1, *task.frame_shape), jnp.uint8), jnp.zeros(1, jnp.int32)
        params = net.init(key, Transitions(picture, picture, nothing, nothing > 0))
        return ICMState(init_learner(params, optimizer), jnp.zeros((), jnp.int32))

    def loss(params: Params, steps: Transitions) -> tuple[Array, Metrics]:
        seen = net.apply(params, steps)
        share = steps.whole / jnp.maximum(jnp.sum(steps.whole), 1)
        forward = jnp.sum(share * forward_error(seen.features, seen.predicted))
        inverse = jnp.sum(share * inverse_loss(seen.logits, steps.action))
        total = auxiliary_loss(forward, inverse, config.icm)
        return total, {"curiosity_loss": total, "icm_forward": forward, "icm_inverse": inverse}

    def judge(state: ICMState, rollout: Rollout, collector: Collector, _: Array, key: Key) -> Judged:
        frames = jnp.concatenate([rollout.obs, collector.obs[None]])
        errors = forward_errors(net, state.learner.params, frames, rollout.action)
        bonus = jnp.where(rollout.done, 0.0, pay(errors, config.icm))
        flat = frames.reshape(-1, *frames.shape[2:])
        num_envs, action, whole = frames.shape[1], rollout.action.reshape(-1), ~rollout.done.reshape(-1)

        def one_minibatch(learner: Learner, index: Array) -> tuple[Learner, Metrics]:
            steps = Transitions(flat[index], flat[index + num_envs], action[index], whole[index])
            (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(learner.params, steps)
            return apply_gradients(learner, grads, optimizer, value)[0], metrics

        def one_pass(learner: Learner, key: Key) -> tuple[Learner, Metrics]:
            order = jax.random.permutation(key, action.size).reshape(config.ppo.minibatches, -1)
            return jax.lax.scan(one_minibatch, learner, order)

        keys = jax.random.split(rng.named(key, "icm"), config.ppo.epochs)
        learner, metrics = jax.lax.scan(one_pass, state.learner, keys)
        bad = jnp.where(learner.skipped > state.learner.skipped, state.bad_updates + 1, 0)
        return Judged(ICMState(learner, bad), bonus, jax.tree.map(jnp.mean, metrics))

    def appraise(state: ICMState, rollout: Rollout, frames: Array, _: Key) -> Appraisal:
        errors = forward_errors(net, state.learner.params, frames, rollout.action)
        return Appraisal(jnp.where(rollout.done, 0.0, pay(errors, config.icm)), None, None)

    return Bonus(init, judge, appraise, lambda state: state.bad_updates)


def forward_errors(net: ICM, params: Params, frames: Array, action: Array) -> Array:
    """Forward errors `[T, N]` of steps between frames `[T + 1, N, H, W, C]`."""
    features = jax.lax.map(lambda row: net.apply(params, row, method=net.encode), frames)
    seen = jax.vmap(lambda *step: net.apply(params, *step, method=net.foresee))(features[:-1], features[1:], action)
    return forward_error(seen.features, seen.predicted)
