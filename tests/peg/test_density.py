"""Kernel density, MEGA and Skew-Fit (conformance test 16)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.peg import density

FOUR = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [4.0, 4.0]])
SIX = jnp.array([[0.0, 0.0], [0.05, 0.0], [0.1, 0.0], [1.0, 0.0], [0.0, 1.0], [4.0, 4.0]])


def test_density_of_four_points() -> None:
    fitted = density.fit(FOUR)
    np.testing.assert_allclose(fitted.mean, 1.25)
    np.testing.assert_allclose(fitted.std, 1.63945963, rtol=1e-6)
    log_density = density.log_density(fitted, jnp.array([[0.0, 0.0], [0.1, 0.0]]))
    np.testing.assert_allclose(log_density, [1.38099878, 1.19497529], atol=1e-5)


def test_density_of_six_points() -> None:
    fitted = density.fit(SIX)
    expected = [1.97991627, 2.03484056, 1.97991627] + 3 * [0.97553366]
    log_density = density.log_density(fitted, SIX)
    np.testing.assert_allclose(log_density, expected, atol=1e-5)
    probabilities = jax.nn.softmax(-log_density)  # of Skew-Fit
    np.testing.assert_allclose(probabilities, [0.0897890, 0.0849904, 0.0897890] + 3 * [0.2451439], atol=1e-6)


def test_skewfit_draws_with_probability_proportional_to_one_over_the_density() -> None:
    drawn = density.skewfit_choice(density.fit(SIX), SIX, jax.random.key(0), 20_000)
    share = jnp.mean(jnp.all(drawn[:, None] == SIX, axis=-1), axis=0)
    np.testing.assert_allclose(share, [0.0897890, 0.0849904, 0.0897890] + 3 * [0.2451439], atol=5 * 0.43 / 20_000**0.5)


@pytest.mark.parametrize("count", [1, 3])
def test_mega_returns_one_of_the_last_three(count: int) -> None:
    chosen = np.asarray(density.mega_choice(density.fit(SIX), SIX, count))
    assert len(np.unique(chosen, axis=0)) == count
    assert all(any((goal == rare).all() for rare in np.asarray(SIX[3:])) for goal in chosen)


@pytest.mark.parametrize("block", [1, 4, 7, 300])
def test_blocks_do_not_change_the_density(block: int) -> None:
    queries = jax.random.normal(jax.random.key(0), (7, 2))
    fitted = density.fit(SIX)
    np.testing.assert_allclose(
        density.log_density(fitted, queries, block=block), density.log_density(fitted, queries), rtol=1e-5
    )


def test_a_constant_dimension_does_not_divide_by_zero() -> None:
    fitted = density.fit(jnp.ones((5, 2)))
    assert bool(jnp.isfinite(density.log_density(fitted, jnp.ones((1, 2)))).all())


def test_memory_does_not_grow_with_the_queries_nor_under_vmap() -> None:
    """Two seeds with the published 10,000 points: all pairs at once would be 800 MB."""
    states = jax.ShapeDtypeStruct((2, 10_000, 2), jnp.float32)
    score = jax.jit(jax.vmap(lambda points, queries: density.log_density(density.fit(points), queries)))
    assert score.lower(states, states).compile().memory_analysis().temp_size_in_bytes < 100e6
