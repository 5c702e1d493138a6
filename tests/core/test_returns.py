"""lambda-returns (conformance tests 1 and 2)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.returns import lambda_return

REWARD = jnp.array([1.0, 2.0, 3.0])
VALUE = jnp.array([0.5, 1.0, 1.5, 2.0])  # of latents 0..3; the last one is the bootstrap


@pytest.mark.parametrize(
    ("lambda_", "expected"),
    [(0.95, [6.3216325, 6.1715, 4.8]), (0.0, [1.9, 3.35, 4.8]), (1.0, [6.688, 6.32, 4.8])],
)
def test_worked_example(lambda_: float, expected: list[float]) -> None:
    np.testing.assert_allclose(lambda_return(REWARD, VALUE[1:], 0.9, lambda_), expected, rtol=1e-6)


def test_constant_reward_without_values() -> None:
    returns = lambda_return(jnp.full(15, -0.5), jnp.zeros(15), 0.99, 0.95)
    assert returns.shape == (15,)
    np.testing.assert_allclose(returns[jnp.array([0, 7, 14])], [-5.05497905, -3.2590951, -0.5], rtol=1e-6)


def test_extra_axes_are_independent_columns() -> None:
    reward = jax.random.normal(jax.random.key(0), (4, 2, 3))
    value = jax.random.normal(jax.random.key(1), (4, 2, 3))
    together = lambda_return(reward, value, 0.9, 0.7)
    alone = lambda_return(reward[:, 1, 2], value[:, 1, 2], 0.9, 0.7)
    np.testing.assert_allclose(together[:, 1, 2], alone, rtol=1e-6)


def test_gradient_of_a_return_reaches_later_rewards_discounted_by_gamma_lambda() -> None:
    gradient = jax.grad(lambda r: lambda_return(r, VALUE[1:], 0.9, 0.95)[0])(REWARD)
    np.testing.assert_allclose(gradient, [1.0, 0.855, 0.855**2], rtol=1e-6)


def test_different_lengths_are_refused() -> None:
    with pytest.raises(AssertionError):
        lambda_return(REWARD, VALUE, 0.9, 0.95)
