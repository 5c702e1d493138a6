"""Probability distributions of the networks' heads; the only module that touches distrax."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from peg_jax.core.remat import keep
from peg_jax.core.types import Array, Key

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import distrax

LOG_SQRT_2PI = 0.9189385332046727


def bounded_std(raw: Array, min_std: float | Array = 0.1) -> Array:
    """The `sigmoid2` activation with a floor, `2 sigmoid(raw / 2) + min_std`; 1.1 at 0 for 0.1."""
    return 2.0 * jax.nn.sigmoid(raw / 2.0) + min_std


def unit_normal_log_prob(mean: Array, target: Array) -> Array:
    """Log density of a unit-variance Gaussian, summed over the last axis, its constant kept."""
    return jnp.sum(-0.5 * jnp.square(target - mean) - LOG_SQRT_2PI, axis=-1)


def gaussian_kl(p: tuple[Array, Array], q: tuple[Array, Array]) -> Array:
    """KL(p || q) of diagonal Gaussians given as (mean, std), summed over the last axis."""
    return jnp.sum(distrax.Normal(*p).kl_divergence(distrax.Normal(*q)), axis=-1)


def categorical_kl(p_logits: Array, q_logits: Array) -> Array:
    """KL(p || q) of independent categoricals `[..., S, C]`, summed over S."""
    return jnp.sum(distrax.Categorical(p_logits).kl_divergence(distrax.Categorical(q_logits)), axis=-1)


def straight_through_one_hot(logits: Array, key: Key) -> Array:
    """One-hot sample whose gradient is that of the probabilities. `[..., C] -> [..., C]`."""
    probs = jax.nn.softmax(logits)
    sample = keep(jax.lax.stop_gradient(distrax.OneHotCategorical(logits, dtype=probs.dtype).sample(seed=key)))
    return sample + probs - jax.lax.stop_gradient(probs)


class OneHot(distrax.OneHotCategorical):
    """Discrete actions as one-hot vectors, sampled with straight-through gradients."""

    def sample_action(self, key: Key) -> Array:
        """One action `[..., A]`."""
        return straight_through_one_hot(self.logits, key)

    def sample_uniform(self, key: Key) -> Array:
        """One action `[..., A]`, every one equally likely whatever the logits."""
        return straight_through_one_hot(jnp.zeros_like(self.logits), key)


class TruncatedNormal:
    """Independent Gaussians truncated to [-1, 1]: the actor's head for continuous actions.

    Samples are reparameterised by the inverse distribution function. All methods sum over the last axis.
    """

    def __init__(self, loc: Array, scale: Array):
        """`loc` and `scale` are `[..., A]`, the Gaussian's before truncation."""
        self.loc, self.scale = loc, scale
        self._low = (-1.0 - loc) / scale
        self._high = (1.0 - loc) / scale
        self._cdf_low, self._cdf_high = _cdf(self._low), _cdf(self._high)
        self._mass = self._cdf_high - self._cdf_low

    def sample_action(self, key: Key) -> Array:
        """One action `[..., A]`, clipped to +-(1 - 1e-6) with a straight-through gradient."""
        uniform = keep(jax.random.uniform(key, self.loc.shape, self.loc.dtype))
        quantile = jnp.clip(self._cdf_low + uniform * self._mass, 1e-7, 1.0 - 1e-7)
        sample = self.loc + self.scale * ndtri(quantile)
        limit = 1.0 - 1e-6
        return sample + jax.lax.stop_gradient(jnp.clip(sample, -limit, limit) - sample)

    def sample_uniform(self, key: Key) -> Array:
        """One action `[..., A]`, uniform in [-1, 1] whatever the parameters."""
        return jax.random.uniform(key, self.loc.shape, self.loc.dtype, -1.0, 1.0)

    def mode(self) -> Array:
        """The mode `[..., A]`: `loc`, which the head keeps inside [-1, 1]."""
        return self.loc

    def mean(self) -> Array:
        """The mean `[..., A]` of the truncated distribution."""
        return self.loc - self.scale * (_pdf(self._high) - _pdf(self._low)) / self._mass

    def log_prob(self, value: Array) -> Array:
        """Log density `[...]` of actions `[..., A]` inside the bounds."""
        z = (value - self.loc) / self.scale
        return jnp.sum(-0.5 * jnp.square(z) - LOG_SQRT_2PI - jnp.log(self.scale * self._mass), axis=-1)

    def entropy(self) -> Array:
        """Exact differential entropy `[...]`."""
        edge = (self._low * _pdf(self._low) - self._high * _pdf(self._high)) / (2.0 * self._mass)
        return jnp.sum(LOG_SQRT_2PI + 0.5 + jnp.log(self.scale * self._mass) + edge, axis=-1)


def _cdf(z: Array) -> Array:
    # One erfc serves both tails to full relative precision; scipy's ndtr evaluates three branches.
    return 0.5 * jax.lax.erfc(-z * 0.5**0.5)


def _pdf(z: Array) -> Array:
    return jnp.exp(-0.5 * jnp.square(z) - LOG_SQRT_2PI)


ActionDistribution: Any = TruncatedNormal | OneHot
