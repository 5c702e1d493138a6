"""The vectorised sine and cosine against numpy's in double precision."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.sine import cosine, sine
from peg_jax.core.types import Array

PAIRS = [(sine, np.sin), (cosine, np.cos)]


@pytest.mark.parametrize(("ours", "exact"), PAIRS)
@pytest.mark.parametrize(("limit", "error"), [(2.0, 1.5e-7), (100.0, 2e-7), (1_000.0, 2e-7), (10_000.0, 4e-7)])
def test_as_exact_as_documented(
    ours: Callable[[Array], Array], exact: Callable[[np.ndarray], np.ndarray], limit: float, error: float
) -> None:
    x = np.random.default_rng(0).uniform(-limit, limit, 200_000).astype(np.float32)
    assert np.abs(np.asarray(jax.jit(ours)(x), np.float64) - exact(x.astype(np.float64))).max() <= error


@pytest.mark.parametrize(("ours", "exact"), PAIRS)
def test_where_the_reduction_changes(ours: Callable[[Array], Array], exact: Callable[[np.ndarray], np.ndarray]) -> None:
    turns = (np.arange(-64, 65) * (np.pi / 4)).astype(np.float32)
    x = np.concatenate([turns, np.nextafter(turns, np.float32(99)), np.nextafter(turns, np.float32(-99))])
    np.testing.assert_allclose(ours(jnp.asarray(x)), exact(x.astype(np.float64)), rtol=0, atol=1.5e-7)


@pytest.mark.parametrize(("ours", "theirs"), [(sine, jnp.sin), (cosine, jnp.cos)])
def test_derivatives(ours: Callable[[Array], Array], theirs: Callable[[Array], Array]) -> None:
    x = jnp.linspace(-20.0, 20.0, 1_001)

    def first(f: Callable[[Array], Array]) -> Array:
        return jax.vmap(jax.grad(f))(x)

    def second(f: Callable[[Array], Array]) -> Array:
        return jax.vmap(jax.grad(jax.grad(f)))(x)

    chex.assert_trees_all_close((first(ours), second(ours)), (first(theirs), second(theirs)), atol=2e-6)


@pytest.mark.parametrize("ours", [sine, cosine])
def test_bounded_wherever_it_is_asked(ours: Callable[[Array], Array]) -> None:
    x = jnp.array([1e6, -1e8, 1e10, -1e30, 3e38])
    for value in (ours(x), jax.vmap(jax.grad(ours))(x)):
        assert (jnp.abs(value) <= 1.0 + 1e-6).all()


@pytest.mark.parametrize("ours", [sine, cosine])
def test_not_finite_is_not_a_number(ours: Callable[[Array], Array]) -> None:
    assert jnp.isnan(ours(jnp.array([jnp.nan, jnp.inf, -jnp.inf]))).all()


@pytest.mark.parametrize(("ours", "exact"), PAIRS)
def test_half_precision_loses_only_its_own_digits(
    ours: Callable[[Array], Array], exact: Callable[[np.ndarray], np.ndarray]
) -> None:
    x = jnp.linspace(-50.0, 50.0, 1_001).astype(jnp.bfloat16)
    y = ours(x)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), exact(np.asarray(x, np.float64)), atol=2e-3)
