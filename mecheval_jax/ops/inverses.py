"""The gradient of the inverse of a matrix, however the inverse is computed.

    Y = A^-1:    dL/dA = -Y^T (dL/dY) Y^T

needs the inverse alone: nothing of the way to it has to be kept, or gone back.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array


def inverting(compute: Callable, precision: str | None = None) -> Callable:
    """A function that inverts matrices, with the gradient of an inverse.

    Args:
        compute: Function of a matrix, or of many [..., n, n], that returns the inverse.
        precision: Precision of the products of the gradient, as `jax.numpy.matmul` takes it.
    """
    dot = functools.partial(jnp.matmul, precision=precision)
    inverse = jax.custom_vjp(compute)

    def forward(A: Array) -> tuple[Array, Array]:
        inverted = inverse(A)
        return inverted, inverted

    def backward(inverted: Array, gradient: Array) -> tuple[Array]:
        transposed = jnp.swapaxes(inverted, -1, -2)
        return (-dot(dot(transposed, gradient), transposed),)

    inverse.defvjp(forward, backward)
    return inverse
