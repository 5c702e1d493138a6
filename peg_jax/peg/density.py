"""Gaussian kernel density of achieved goals, for MEGA and Skew-Fit."""

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core.types import Array, Key

BANDWIDTH = 0.1


@struct.dataclass
class Density:
    """A kernel density in standardised coordinates."""

    points: Array  # [n, D], standardised
    mean: Array  # [D]
    std: Array  # [D]


def fit(points: Array) -> Density:
    """Fit to `[n, D]` points: standardise by mean and population deviation (+ 1e-4), bandwidth 0.1."""
    mean, std = points.mean(axis=0), points.std(axis=0) + 1e-4
    return Density((points - mean) / std, mean, std)


def log_density(density: Density, queries: Array, block: int = 256) -> Array:
    """Log density `[m]` of `[m, D]` queries in the standardised space (no Jacobian).

    Queries go through in blocks, so that memory is `block * n` whatever m is, also under `vmap`.
    """
    n, size = density.points.shape
    log_norm = jnp.log(n) + size * jnp.log(BANDWIDTH * jnp.sqrt(2.0 * jnp.pi))
    queries = (queries - density.mean) / density.std

    def one(query: Array) -> Array:
        # Points along the last axis: a sum over the few dimensions there would take a CPU nine times as long.
        squared = jnp.sum(jnp.square((density.points.T - query[:, None]) / BANDWIDTH), axis=0)
        return jax.nn.logsumexp(-0.5 * squared) - log_norm

    return jax.lax.map(one, queries, batch_size=min(block, queries.shape[0]))


def mega_choice(density: Density, candidates: Array, count: int) -> Array:
    """MEGA: the `count` candidates of lowest density, `[m, D] -> [count, D]`, rarest first."""
    _, rarest = jax.lax.top_k(-log_density(density, candidates), count)
    return candidates[rarest]


def skewfit_choice(density: Density, candidates: Array, key: Key, count: int) -> Array:
    """Skew-Fit: `[count, D]` candidates drawn with probability proportional to 1 / density."""
    chosen = jax.random.categorical(key, -log_density(density, candidates), shape=(count,))
    return candidates[chosen]
