"""Inverses of matrices, and their gradient.

    Y = A^-1:    dL/dA = -Y^T (dL/dY) Y^T

needs the inverse alone, however it is computed: nothing of the way to it has to be kept, or gone
back.
"""

import functools
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float

LARGEST = 12
"""Most rows that are solved one after the other; blocks of more are composed from halves."""


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


def inverse_of_unit_lower(A: Float[Array, "*axes c c"]) -> Float[Array, "*axes c c"]:
    """The inverse of I + A for a strictly lower triangular A; the rest of A is not read.

    Diagonal blocks of up to `LARGEST` rows are solved row by row, all at once, and then doubled:

        [[P, 0], [Q, R]]^-1 = [[P^-1, 0], [-R^-1 Q P^-1, R^-1]]

    (A triangular solve would do as well, but XLA cannot partition one over devices.)
    """
    return _inverse(jnp.tril(A, -1))


@inverting
def _inverse(A: Float[Array, "*axes c c"]) -> Float[Array, "*axes c c"]:
    size, lead = A.shape[-1], A.shape[:-2]
    count = 1
    while size > LARGEST * count:
        count *= 2
    rows = -(-size // count)
    pad = [(0, 0)] * len(lead) + [(0, rows * count - size)] * 2
    A = jnp.pad(A, pad)
    inverted = _row_by_row(_blocks(A, count, [(i, i) for i in range(count)]))
    while count > 1:
        below = _blocks(A, count, [(i + 1, i) for i in range(0, count, 2)])
        first, second = inverted[..., ::2, :, :], inverted[..., 1::2, :, :]
        corner = -second @ (below @ first)
        inverted = jnp.block([[first, jnp.zeros_like(first)], [corner, second]])
        count //= 2
    return inverted[..., 0, :size, :size]


def _blocks(
    A: Float[Array, "*axes n n"], count: int, places: Iterable[tuple[int, int]]
) -> Float[Array, "*axes blocks c c"]:
    """The blocks at some (row, column) of a matrix that is cut into count x count of them."""
    size = A.shape[-1] // count
    cut = A.reshape(*A.shape[:-2], count, size, count, size)
    return jnp.stack([cut[..., row, :, column, :] for row, column in places], axis=-3)


def _row_by_row(A: Float[Array, "*axes c c"]) -> Float[Array, "*axes c c"]:
    """The inverse of I + A by forward substitution: row t is e_t less A[t] times those before."""
    identity = jnp.eye(A.shape[-1], dtype=A.dtype)
    identity = jnp.broadcast_to(identity, A.shape)
    found = identity[..., :1, :]
    for t in range(1, A.shape[-1]):
        row = identity[..., t : t + 1, :] - A[..., t : t + 1, :t] @ found
        found = jnp.concatenate([found, row], axis=-2)
    return found
