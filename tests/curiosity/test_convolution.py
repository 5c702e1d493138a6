"""Convolutions by patches, against XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from peg_jax.core.types import Array
from peg_jax.curiosity.convolution import convolve


@pytest.mark.parametrize(("size", "stride"), [(4, 2), (3, 2), (3, 1), (8, 4)])
def test_value_and_gradients_are_those_of_xla(size: int, stride: int) -> None:
    """Also where the stride does not divide the kernel, and where pixels at the edge are not reached."""
    x = jax.random.normal(jax.random.key(0), (2, 11, 10, 3))
    kernel = jax.random.normal(jax.random.key(1), (size, size, 3, 5))

    def of_xla(x: Array, kernel: Array) -> Array:
        strides = (stride, stride)
        return jax.lax.conv_general_dilated(x, kernel, strides, "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def of_patches(x: Array, kernel: Array) -> Array:
        return convolve(x, kernel, stride)

    both = []
    for function in (of_xla, of_patches):
        value, back = jax.vjp(function, x, kernel)
        both.append((value, *back(jnp.cos(value))))
    for mine, expected in zip(both[1], both[0], strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-4)


def test_gradients_of_many_seeds_are_those_of_each() -> None:
    x = jax.random.normal(jax.random.key(0), (3, 2, 8, 8, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 4, 4, 3, 5))
    gradients = jax.grad(lambda x, kernel: jnp.sum(jnp.sin(convolve(x, kernel, 2))), argnums=(0, 1))
    together = jax.jit(jax.vmap(gradients))(x, kernel)
    for seed in range(3):
        alone = gradients(x[seed], kernel[seed])
        for mine, expected in zip(jax.tree.map(lambda leaf, i=seed: leaf[i], together), alone, strict=True):
            np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-5)
