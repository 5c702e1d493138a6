"""The reachability network: can one observation be reached from another within k steps? (Savinov et al. 2019)

A siamese encoder, as published a residual network, makes an embedding of each frame; a comparator makes of two
embeddings the probability that they lie at most k steps apart, here called similarity.
"""

from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from peg_jax.core.optim import Learner, OptimizerConfig, apply_gradients, init_learner
from peg_jax.core.types import Array, Key, Metrics, Params
from peg_jax.curiosity.convolution import convolve
from peg_jax.curiosity.reachability_config import RNetworkConfig

_HE = nn.initializers.he_normal()
_HE_OF_A_HALF = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")  # a half sees half of the fan-in

PLAIN_KERNELS, PLAIN_STRIDES = (8, 4, 3), (4, 2, 1)
"""Of the plain encoder's convolutions."""


@struct.dataclass
class Variables:
    """Everything that the network computes with."""

    params: Params
    stats: Params  # running means and variances of the batch norms


@struct.dataclass
class RNetworkState:
    """A network in training."""

    learner: Learner
    stats: Params  # running means and variances of the batch norms
    bad_updates: Array  # int32 [], the latest updates in a row that were skipped as not finite

    @property
    def variables(self) -> Variables:
        """What inference needs."""
        return Variables(self.learner.params, self.stats)


@struct.dataclass
class PairBatch:
    """Labelled pairs of frames."""

    current: Array  # uint8 [B, H, W, C]
    other: Array  # uint8 [B, H, W, C]
    label: Array  # int32 [B], 1 where the frames are within reach of each other


class _Norm(nn.Module):
    """Batch norm with Keras' epsilon, then ReLU."""

    momentum: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        norm = nn.BatchNorm(not train, momentum=self.momentum, epsilon=1e-3, dtype=self.dtype, name="norm")
        return nn.relu(norm(x))


class _Conv(nn.Module):
    """A convolution with bias, whose parameters are those of `nn.Conv`.

    On a CPU it is one matrix product of patches (`convolution`): in a loop, as training and scoring are, XLA's own
    convolutions and their gradients take there 4 to 15 times as long.
    """

    channels: int
    kernel: int
    stride: int
    padding: str
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, H, W, C] -> [B, H', W', channels]`."""
        shape = (self.kernel, self.kernel, x.shape[-1], self.channels)
        kernel = self.param("kernel", _HE, shape).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.channels,)).astype(self.dtype)
        size, stride = (self.kernel, self.kernel), (self.stride, self.stride)

        def of_xla(x: Array, kernel: Array) -> Array:
            return jax.lax.conv_general_dilated(
                x, kernel, stride, self.padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )

        def of_patches(x: Array, kernel: Array) -> Array:
            pads = jax.lax.padtype_to_pads(x.shape[1:3], size, stride, self.padding)
            return convolve(jnp.pad(x, ((0, 0), *pads, (0, 0))), kernel, self.stride)

        return jax.lax.platform_dependent(x, kernel, cpu=of_patches, default=of_xla) + bias


class _Block(nn.Module):
    """Two 3x3 convolutions, each after norm and ReLU, added to the raw input, which a 1x1 convolution fits in shape."""

    channels: int
    stride: int
    first: bool  # the input is already normalised
    momentum: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        conv = partial(_Conv, self.channels, dtype=self.dtype)
        y = x if self.first else _Norm(self.momentum, self.dtype, name="norm_0")(x, train)
        y = conv(kernel=3, stride=self.stride, padding="SAME", name="conv_0")(y)
        normed = _Norm(self.momentum, self.dtype, name="norm_1")(y, train)
        y = conv(kernel=3, stride=1, padding="SAME", name="conv_1")(normed)
        if x.shape != y.shape:
            x = conv(kernel=1, stride=self.stride, padding="VALID", name="shortcut")(x)
        return x + y


class Encoder(nn.Module):
    """Pre-activation residual network of raw pixels: frames `[B, H, W, C]` in 0..255 -> embeddings `[B, E]`.

    The first batch norm takes care of the pixels' scale.
    """

    config: RNetworkConfig

    @nn.compact
    def __call__(self, frames: Array, train: bool) -> Array:
        """Apply the network."""
        config = self.config
        dtype = jnp.dtype(config.dtype)
        norm = partial(_Norm, config.momentum, dtype)
        x = _Conv(config.widths[0], 7, 2, "SAME", dtype, name="stem")(frames.astype(dtype))
        x = nn.max_pool(norm(name="stem_norm")(x, train), (3, 3), (2, 2), "SAME")
        for stage, channels in enumerate(config.widths):
            for block in range(config.blocks):
                stride = 2 if stage and not block else 1
                first = not stage and not block
                name = f"stage_{stage}_block_{block}"
                x = _Block(channels, stride, first, config.momentum, dtype, name=name)(x, train)
        x = jnp.mean(norm(name="tail_norm")(x, train), axis=(1, 2))
        return nn.Dense(config.embedding, kernel_init=_HE, dtype=dtype, name="out")(x).astype(jnp.float32)


class PlainEncoder(nn.Module):
    """Three convolutions and a dense layer that knows where in the view things are; no batch norm. Not published.

    Frames `[B, H, W, C]` in 0..255 -> embeddings `[B, E]`.
    """

    config: RNetworkConfig

    @nn.compact
    def __call__(self, frames: Array, train: bool) -> Array:
        """Apply the network, which is the same in training."""
        del train
        dtype = jnp.dtype(self.config.dtype)
        x = frames.astype(dtype) / 255.0 - 0.5
        layers = zip(self.config.widths, PLAIN_KERNELS, PLAIN_STRIDES, strict=True)
        for index, (channels, kernel, stride) in enumerate(layers):
            x = nn.relu(_Conv(channels, kernel, stride, "SAME", dtype, name=f"conv_{index}")(x))
        x = x.reshape(x.shape[0], -1)
        return nn.Dense(self.config.embedding, kernel_init=_HE, dtype=dtype, name="out")(x).astype(jnp.float32)


class Comparator(nn.Module):
    """Two embeddings -> two logits; the second is that of "reachable". The order matters: (current, remembered).

    Batch norm and ReLU work on each number alone, so all up to the first layer's sum is computed for each embedding by
    itself: its half. A memory keeps the halves of its entries.

    With `compares="difference"`, which is not published, the first layer is linear, sees `current - remembered`, and
    only its magnitudes go on. So a network need not learn first that it is to compare, and the order does not matter.
    """

    config: RNetworkConfig

    def setup(self) -> None:
        """Declare the layers."""
        config = self.config
        dtype = jnp.dtype(config.dtype)
        norm, dense = partial(_Norm, config.momentum, dtype), partial(nn.Dense, dtype=dtype)
        self.difference = config.compares == "difference"
        if self.difference:
            self.dense_both = dense(config.units, kernel_init=_HE_OF_A_HALF, use_bias=False)
        else:
            self.norm_current, self.norm_other = norm(), norm()
            self.dense_current = dense(config.units, kernel_init=_HE_OF_A_HALF)
            self.dense_other = dense(config.units, kernel_init=_HE_OF_A_HALF, use_bias=False)
        self.norms = [norm() for _ in range(config.layers)]
        self.hidden = [dense(config.units, kernel_init=_HE) for _ in range(config.layers - 1)]
        self.out = dense(2, kernel_init=_HE)

    def half_of_current(self, embedding: Array, train: bool = False) -> Array:
        """The current observation's share of the first layer, `[..., E] -> [..., units]`."""
        if self.difference:
            return self.dense_both(embedding)
        return self.dense_current(self.norm_current(embedding, train))

    def half_of_other(self, embedding: Array, train: bool = False) -> Array:
        """The remembered observation's share of the first layer, `[..., E] -> [..., units]`."""
        if self.difference:
            return -self.dense_both(embedding)
        return self.dense_other(self.norm_other(embedding, train))

    def join(self, summed_halves: Array, train: bool = False) -> Array:
        """The rest: sums of two halves `[..., units]` -> logits `[..., 2]`."""
        x = self.norms[0](jnp.abs(summed_halves) if self.difference else summed_halves, train)
        for dense, norm in zip(self.hidden, self.norms[1:], strict=True):
            x = norm(dense(x), train)
        return self.out(x).astype(jnp.float32)


class RNetwork(nn.Module):
    """Encoder and comparator. Use the functions of this module rather than its methods."""

    config: RNetworkConfig

    def setup(self) -> None:
        """Declare both."""
        encoder = PlainEncoder if self.config.encoder == "plain" else Encoder
        self.encoder, self.comparator = encoder(self.config), Comparator(self.config)

    def embed(self, frames: Array) -> Array:
        """Embeddings `[B, E]` of frames `[B, H, W, C]`, by the running statistics."""
        return self.encoder(frames, False)

    def half_of_current(self, embedding: Array) -> Array:
        """See `Comparator`."""
        return self.comparator.half_of_current(embedding)

    def half_of_other(self, embedding: Array) -> Array:
        """See `Comparator`."""
        return self.comparator.half_of_other(embedding)

    def join(self, summed_halves: Array) -> Array:
        """See `Comparator`."""
        return self.comparator.join(summed_halves)

    def __call__(self, current: Array, other: Array, train: bool) -> Array:
        """Logits `[B, 2]` of pairs of frames `[B, H, W, C]`, by the batch's own statistics if `train`."""
        first, second = jnp.split(self.encoder(jnp.concatenate([current, other]), train), 2)
        halves = self.comparator.half_of_current(first, train) + self.comparator.half_of_other(second, train)
        return self.comparator.join(halves, train)


def init_variables(net: RNetwork, key: Key, frame_shape: tuple[int, ...]) -> Variables:
    """Fresh parameters and statistics for frames `[H, W, C]`."""
    frames = jnp.zeros((1, *frame_shape), jnp.uint8)
    collections = net.init(key, frames, frames, False)
    return Variables(collections["params"], collections["batch_stats"])


def init_state(net: RNetwork, key: Key, frame_shape: tuple[int, ...], optimizer: OptimizerConfig) -> RNetworkState:
    """A network that has made no update."""
    variables = init_variables(net, key, frame_shape)
    return RNetworkState(init_learner(variables.params, optimizer), variables.stats, jnp.zeros((), jnp.int32))


def embed(net: RNetwork, variables: Variables, frames: Array) -> Array:
    """Embeddings `[..., E]` of frames `[..., H, W, C]` uint8."""
    flat = frames.reshape(-1, *frames.shape[-3:])
    return _apply(net, variables, flat, "embed").reshape(*frames.shape[:-3], -1)


def half_of_entry(net: RNetwork, variables: Variables, embedding: Array) -> Array:
    """What a memory keeps of an embedding for comparing, `[..., E] -> [..., units]`."""
    return _apply(net, variables, embedding, "half_of_other")


def similarity(net: RNetwork, variables: Variables, embedding: Array, halves: Array) -> Array:
    """Probability that each of `M` remembered observations is within reach of the current one.

    Args:
        net: the module.
        variables: of the network that made the halves.
        embedding: of the current observation, `[E]`.
        halves: of the remembered ones, `[M, units]`, see `half_of_entry`.

    Returns:
        `[M]` in 0..1.
    """
    chex.assert_rank([embedding, halves], [1, 2])
    half = _apply(net, variables, embedding, "half_of_current")
    return jax.nn.softmax(_apply(net, variables, half + halves, "join"))[..., 1]


def compare(net: RNetwork, variables: Variables, current: Array, other: Array) -> Array:
    """Similarity `[B]` of pairs of frames `[B, H, W, C]`, as in inference."""
    logits = net.apply({"params": variables.params, "batch_stats": variables.stats}, current, other, False)
    return jax.nn.softmax(logits)[:, 1]


def _apply(net: RNetwork, variables: Variables, x: Array, method: str) -> Array:
    return net.apply({"params": variables.params, "batch_stats": variables.stats}, x, method=method)


def loss(params: Params, stats: Params, net: RNetwork, batch: PairBatch, l2: Array | float) -> tuple[Array, tuple]:
    """Cross entropy plus the squared convolution kernels times `l2`.

    Both frames of a pair pass through the encoder in one batch of 2 B, whose statistics its norms use; the original
    applies the encoder twice, with statistics of B frames each.

    Returns:
        `(loss, (stats, {"loss", "accuracy"}))`; the reported loss is the cross entropy alone.
    """
    logits, updated = net.apply(
        {"params": params, "batch_stats": stats}, batch.current, batch.other, True, mutable=["batch_stats"]
    )
    metrics = _judge(logits, batch.label)
    return metrics["loss"] + l2 * _squared_kernels(params), (updated["batch_stats"], metrics)


def update(
    state: RNetworkState, net: RNetwork, batch: PairBatch, config: RNetworkConfig, optimizer: OptimizerConfig
) -> tuple[RNetworkState, Metrics]:
    """One gradient step; where a gradient or the loss is not finite, parameters and statistics stay as they are.

    Returns:
        `(state, {"loss", "accuracy", "grad_norm"})`, measured on the batch before the step.
    """
    chex.assert_equal_shape([batch.current, batch.other])
    loss_and_grads = jax.value_and_grad(loss, has_aux=True)
    (value, (stats, metrics)), grads = loss_and_grads(state.learner.params, state.stats, net, batch, config.l2)
    learner, norm = apply_gradients(state.learner, grads, optimizer, value)
    applied = learner.skipped == state.learner.skipped
    stats = jax.tree.map(lambda new, old: jnp.where(applied, new, old), stats, state.stats)
    return RNetworkState(learner, stats, jnp.where(applied, 0, state.bad_updates + 1)), metrics | norm


def evaluate(net: RNetwork, variables: Variables, batch: PairBatch) -> Metrics:
    """`{"loss", "accuracy"}` on a batch, as in inference."""
    collections = {"params": variables.params, "batch_stats": variables.stats}
    return _judge(net.apply(collections, batch.current, batch.other, False), batch.label)


def _judge(logits: Array, label: Array) -> Metrics:
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()
    return {"loss": loss, "accuracy": jnp.mean(jnp.argmax(logits, axis=-1) == label)}


def _squared_kernels(params: Params) -> Array:
    """Sum of squares of all convolution kernels: those with four axes. Dense layers and biases are not decayed."""
    return jnp.sum(jnp.stack([jnp.sum(jnp.square(x)) for x in jax.tree.leaves(params) if x.ndim == 4]))
