"""Convolutions as matrix products of patches.

A CPU multiplies matrices several times faster than XLA convolves on it, backwards and in loops most of all, and a
product stays a (batched) product when it is mapped over seeds.
"""

import jax
import jax.numpy as jnp

from peg_jax.core.types import Array


def convolve(x: Array, kernel: Array, stride: int) -> Array:
    """Convolution without padding: `[N, H, W, C]` by `[k, k, C, O]` -> `[N, H', W', O]`.

    Where the stride s divides k, blocks of s x s pixels first become one pixel with s^2 times the channels: k^2 / s^2
    long pieces are copied in place of k^2 short ones, which takes half the time, and of the gradient two thirds.
    """
    size, _, channels, outputs = kernel.shape
    if stride > 1 and size % stride == 0:
        blocks = size // stride
        kernel = kernel.reshape(blocks, stride, blocks, stride, channels, outputs).transpose(0, 2, 1, 3, 4, 5)
        kernel = kernel.reshape(blocks, blocks, -1, outputs)
        return convolve(_blocks(x, stride), kernel, 1)
    return _product(extract_patches(x, size, stride), kernel.reshape(-1, outputs))


@jax.custom_vjp
def _product(patches: Array, kernel: Array) -> Array:
    """`patches @ kernel`, `[N, H', W', K]` by `[K, O]`, with a gradient of the kernel that is fast on a CPU.

    Of "patches^T gradient" XLA makes a product that reads both along their long side, which is several
    times slower. It is computed as its transpose, and the barrier keeps XLA from turning it round again.
    """
    return patches @ kernel


def _product_forward(patches: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return patches @ kernel, (patches, kernel)


def _product_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    patches, kernel = kept
    rows, outputs = patches.reshape(-1, kernel.shape[0]), gradient.reshape(-1, kernel.shape[1])
    return gradient @ kernel.T, jax.lax.optimization_barrier(outputs.T @ rows).T


_product.defvjp(_product_forward, _product_backward)


def _blocks(x: Array, edge: int) -> Array:
    """`[N, H, W, C] -> [N, H / edge, W / edge, edge^2 C]`; pixels left over at the far sides are left out."""
    count, height, width, channels = x.shape
    rows, columns = height // edge, width // edge
    x = x[:, : rows * edge, : columns * edge].reshape(count, rows, edge, columns, edge, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(count, rows, columns, edge**2 * channels)


def extract_patches(x: Array, size: int, stride: int) -> Array:
    """`[N, H, W, C] -> [N, H', W', size * size * C]`, rows of a patch first."""
    height, width = ((edge - size) // stride + 1 for edge in x.shape[1:3])
    slices = [
        x[:, i : i + stride * (height - 1) + 1 : stride, j : j + stride * (width - 1) + 1 : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(slices, axis=-1)
