"""Multi-layer perceptrons in the form the papers use: Glorot-uniform kernels, zero biases, ELU."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from peg_jax.core.remat import keep
from peg_jax.core.sine import cosine, sine
from peg_jax.core.types import Array, Key, Params, ScoreFn


@jax.custom_jvp
def elu(x: Array) -> Array:
    """ELU whose derivative is read off its output, `1 + min(y, 0)`.

    The output is kept anyway as the next layer's input, so nothing else is stored for the backward pass.
    """
    return jnp.where(x > 0, x, jnp.exp(jnp.minimum(x, 0.0)) - 1.0)


@elu.defjvp
def _elu_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    y = elu(primals[0])
    return y, tangents[0] * (1.0 + jnp.minimum(y, 0.0))


def elu_and_sines(z: Array, scale: float) -> Array:
    """ELU of a layer's pre-activations beside sines of them, `[..., U] -> [..., 2 U]` (Sitzmann et al., 2020).

    Walls are abrupt: with sines one layer can be fine-grained in its inputs.
    """
    return jnp.concatenate([elu(z), sine(scale * z)], axis=-1)


def fourier_features(x: Array, octaves: int, period: Array | float) -> Array:
    """Each entry with sines and cosines of `octaves` periods, each half the one before, `[..., D (1 + 2 octaves)]`.

    Multi-layer perceptrons of raw coordinates learn fine structure last (Tancik et al., NeurIPS 2020); 0 octaves leave
    `x [..., D]` alone.
    """
    if octaves == 0:
        return x
    angles = x[..., None] * (2.0 * jnp.pi / period) * 2.0 ** jnp.arange(octaves)
    waves = jnp.concatenate([sine(angles), cosine(angles)], axis=-1)
    return jnp.concatenate([x, waves.reshape(*x.shape[:-1], -1)], axis=-1)


def glorot_uniform(fan_in: int, fan_out: int) -> nn.initializers.Initializer:
    """Glorot-uniform initialiser with an explicit fan-in, for a kernel that is stored in several slices."""
    limit = (6.0 / (fan_in + fan_out)) ** 0.5

    def init(key: Key, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


class MLP(nn.Module):
    """`layers` ELU layers of `units`, then one linear layer of `outputs` (none when `outputs` is 0).

    The first layer reads `concat([x, context])`, stored as two slices of one kernel, so that the context's share can be
    computed once by `embed_context` and reused: a goal is constant along an imagined rollout, and its matrix product
    need not be repeated at each step. `context` 0 means a plain input.
    """

    inputs: int
    layers: int
    units: int
    outputs: int = 0
    context: int = 0
    dtype: jnp.dtype = jnp.float32

    def setup(self) -> None:
        """Declare the layers; both slices of the first kernel share its fan-in."""
        first = glorot_uniform(self.inputs + self.context, self.units)
        other = nn.initializers.glorot_uniform()
        self.hidden = [
            nn.Dense(self.units, dtype=self.dtype, kernel_init=other if index else first)
            for index in range(self.layers)
        ]
        if self.context:
            self.hidden_context = nn.Dense(self.units, use_bias=False, dtype=self.dtype, kernel_init=first)
        if self.outputs:
            self.out = nn.Dense(self.outputs, dtype=self.dtype, kernel_init=other)

    def embed_context(self, context: Array) -> Array:
        """The context's share of the first layer. `[..., context] -> [..., units]`."""
        return self.hidden_context(context)

    def __call__(self, x: Array, embedded_context: Array | None = None) -> Array:
        """Apply the network. `x [..., inputs]`, `embedded_context [..., units]` -> `[..., outputs or units]`."""
        for index, layer in enumerate(self.hidden):
            x = layer(x)
            if index == 0 and embedded_context is not None:
                x = x + embedded_context
            x = elu(x)
        return (self.out(x) if self.outputs else x).astype(jnp.float32)

    def initialise(self) -> Array:
        """Touch every parameter: the method to hand to `init`."""
        embedded = self.embed_context(jnp.zeros(self.context)) if self.context else None
        return self(jnp.zeros(self.inputs), embedded)


class GoalMLP(nn.Module):
    """A network of a state and a goal that multiplies what it makes of the two; used like an `MLP` with a context.

    Two towers, one for `x` and one for the context, are multiplied element by element before the last ELU layer. The
    first layer of each tower also reads its pre-activations as sines of frequency `sine_scale`. Values and policies
    of goals behind walls are products of "where am I" and "where to", abrupt in both; a plain MLP of the concatenated
    pair learns such functions very slowly (sines: Sitzmann et al., 2020; products: Jayakumar et al., ICLR 2020).

    Each tower has `layers` layers, at least 2; one more ELU layer follows the product.
    """

    inputs: int
    layers: int
    units: int
    outputs: int
    context: int
    sine_scale: float
    dtype: jnp.dtype = jnp.float32

    def setup(self) -> None:
        """Declare both towers and the joint layers."""

        def dense(units: int) -> nn.Dense:
            return nn.Dense(units, dtype=self.dtype, kernel_init=nn.initializers.glorot_uniform())

        self.state_tower = [dense(self.units) for _ in range(self.layers)]
        self.goal_tower = [dense(self.units) for _ in range(self.layers)]
        self.joint, self.out = dense(self.units), dense(self.outputs)

    def embed_context(self, context: Array) -> Array:
        """The goal's tower. `[..., context] -> [..., units]`."""
        return self._climb(self.goal_tower, context)

    def __call__(self, x: Array, embedded_context: Array) -> Array:
        """Apply the network. `x [..., inputs]`, `embedded_context [..., units]` -> `[..., outputs]`."""
        product = elu(self._climb(self.state_tower, x)) * embedded_context
        return self.out(elu(self.joint(product))).astype(jnp.float32)

    def initialise(self) -> Array:
        """Touch every parameter: the method to hand to `init`."""
        return self(jnp.zeros(self.inputs), self.embed_context(jnp.zeros(self.context)))

    def _climb(self, tower: list[nn.Dense], x: Array) -> Array:
        first, *others = tower
        z = first(x)
        x = elu_and_sines(z, self.sine_scale)
        for layer in others[:-1]:
            x = elu(layer(x))
        return others[-1](x)


Network = MLP | GoalMLP


def init_mlp(mlp: Network, key: Key) -> Params:
    """Fresh parameters of `mlp`."""
    return mlp.init(key, method="initialise")


def init_ensemble(mlp: Network, key: Key, members: int) -> Params:
    """Fresh parameters of `members` networks as one batched tree: every leaf has a leading member axis."""
    return jax.vmap(lambda member_key: init_mlp(mlp, member_key))(jax.random.split(key, members))


def score_with_gradient(score: ScoreFn, x: Array) -> Array:
    """A per-row score that keeps only its input gradient for the backward pass.

    `score` maps rows `[N, F]` to `[N]`, row by row. The result has the value of `score(x)` and the derivative
    d score / d x, but the network's activations are dropped at once: what is stored is one `[N, F]` gradient,
    whatever the depth of the network or the size of the ensemble.

    Args:
        score: row-wise function; its parameters get no gradient through the result.
        x: `[N, F]`.

    Returns:
        `[N]` scores, differentiable once with respect to `x`.
    """
    fixed = jax.lax.stop_gradient(x)
    value, pullback = jax.vjp(score, fixed)
    (gradient,) = pullback(jnp.ones_like(value))
    value, gradient = jax.lax.stop_gradient((keep(value), keep(gradient)))
    return value + jnp.sum(gradient * (x - fixed), axis=-1)
