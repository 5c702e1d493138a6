"""Policy and value networks (Savinov et al. 2019).

Pictures: three convolutions and a dense layer, shared by policy and value. Vectors: a tanh MLP for each. Orthogonal
initialisation, gain sqrt(2) in hidden layers, 0.01 for the policy's head and 1 for the value's.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core.types import Array, Key, Params
from peg_jax.curiosity.config import NetworkConfig
from peg_jax.curiosity.convolution import convolve

HIDDEN_GAIN = math.sqrt(2.0)
POLICY_GAIN, VALUE_GAIN = 0.01, 1.0


@struct.dataclass
class Policy:
    """What the network says of observations."""

    mean: Array  # [..., A] logits of discrete actions, or means of continuous ones
    log_std: Array  # [A] of continuous actions; empty for discrete ones
    value: Array  # [...]


class PictureNetwork(nn.Module):
    """Pixels in 0..255, `[..., H, W, C]`, to logits and value."""

    actions: int
    config: NetworkConfig

    @nn.compact
    def __call__(self, obs: Array) -> Policy:
        """Apply."""
        leading = obs.shape[:-3]
        x = obs.reshape(-1, *obs.shape[-3:]).astype(jnp.float32) / 255.0
        layers = zip(self.config.channels, self.config.kernels, self.config.strides, strict=True)
        for channels, kernel, stride in layers:
            x = nn.relu(Convolution(channels, kernel, stride)(x))
        x = nn.relu(_dense(self.config.units, HIDDEN_GAIN)(x.reshape(x.shape[0], -1)))
        mean, value = _dense(self.actions, POLICY_GAIN)(x), _dense(1, VALUE_GAIN)(x)
        return Policy(mean.reshape(*leading, -1), jnp.zeros(0), value.reshape(leading))


class VectorNetwork(nn.Module):
    """Vectors `[..., F]` to policy and value; continuous actions have a free log-deviation, from 0."""

    actions: int
    discrete: bool
    config: NetworkConfig

    @nn.compact
    def __call__(self, obs: Array) -> Policy:
        """Apply."""

        def tower(outputs: int, gain: float) -> Array:
            x = obs
            for units in self.config.mlp:
                x = jnp.tanh(_dense(units, HIDDEN_GAIN)(x))
            return _dense(outputs, gain)(x)

        count = 0 if self.discrete else self.actions
        log_std = self.param("log_std", nn.initializers.zeros, (count,)) if count else jnp.zeros(0)
        return Policy(tower(self.actions, POLICY_GAIN), log_std, tower(1, VALUE_GAIN)[..., 0])


class Convolution(nn.Module):
    """A convolution without padding, as one matrix product of patches, see `convolve`."""

    channels: int
    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[N, H, W, C] -> [N, H', W', channels]`."""
        size, channels = self.kernel, x.shape[-1]
        flat = self.param("kernel", orthogonal(HIDDEN_GAIN), (size * size * channels, self.channels))
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        return convolve(x, flat.reshape(size, size, channels, -1), self.stride) + bias


def orthogonal(gain: float) -> Callable[..., Array]:
    """Initialiser of orthogonal kernels, times `gain` (Saxe et al. 2014).

    Of several seeds in one program each draws its own after the other: jaxlib 0.10.2 hands parts of a batched QR
    factorisation to the threads that wait for them, and two at once wait for ever on a CPU with two threads.
    """
    draw = nn.initializers.orthogonal(gain)

    def init(key: Key, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        kernel: Array = jax.custom_batching.sequential_vmap(lambda key: draw(key, tuple(shape), dtype))(key)
        return kernel

    return init


def _dense(units: int, gain: float) -> nn.Dense:
    return nn.Dense(units, kernel_init=orthogonal(gain))


def make_network(config: NetworkConfig, obs_shape: Sequence[int], actions: int, discrete: bool) -> nn.Module:
    """The network for observations of a shape.

    Raises:
        ValueError: a picture with continuous actions, for which nothing is published.
    """
    if len(obs_shape) == 3:
        if not discrete:
            raise ValueError("there is no network for pictures with continuous actions")
        return PictureNetwork(actions, config)
    return VectorNetwork(actions, discrete, config)


def init_params(network: nn.Module, obs_shape: Sequence[int], key: Key) -> Params:
    """Fresh parameters."""
    return network.init(key, jnp.zeros((1, *obs_shape)))


Apply = Callable[[Params, Array], Policy]


def sample(policy: Policy, key: Key) -> Array:
    """Actions: int32 `[...]` or float32 `[..., A]`."""
    if policy.log_std.size == 0:
        return jax.random.categorical(key, policy.mean)
    return policy.mean + jnp.exp(policy.log_std) * jax.random.normal(key, policy.mean.shape)


def log_prob(policy: Policy, action: Array) -> Array:
    """Log-probability (density) of actions, `[...]`."""
    if policy.log_std.size == 0:
        logits = jax.nn.log_softmax(policy.mean)
        return jnp.take_along_axis(logits, action[..., None], axis=-1)[..., 0]
    scaled = (action - policy.mean) * jnp.exp(-policy.log_std)
    return jnp.sum(-0.5 * scaled**2 - policy.log_std - 0.5 * math.log(2 * math.pi), axis=-1)


def entropy(policy: Policy) -> Array:
    """Entropy, `[...]`."""
    if policy.log_std.size == 0:
        logits = jax.nn.log_softmax(policy.mean)
        return -jnp.sum(jnp.exp(logits) * logits, axis=-1)
    per_dimension = jnp.sum(policy.log_std + 0.5 * math.log(2 * math.pi * math.e))
    return jnp.broadcast_to(per_dimension, policy.value.shape)
