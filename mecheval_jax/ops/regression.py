"""The system that MesaNet solves at every token: ridge regression from keys to values.

    p = (G + diag(lambda))^-1 q

with G a weighted sum of k k^T. The matrix is inverted by blocks: with S = D - C A^-1 B,

    [A B; C D]^-1 = [A^-1 + A^-1 B S^-1 C A^-1, -A^-1 B S^-1; -S^-1 C A^-1, S^-1]

(Schur's complement), without exchanging rows, which a positive definite matrix does not need. G may
be another one after an intervention on the state; only its leading blocks must have an inverse.

LAPACK is not used: called for many matrices by programs of several devices of one host, jaxlib's
kernels wait for threads that wait for them, and never end.
"""

import functools

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.ops.inverses import inverting
from mecheval_jax.ops.precision import in_float32

LEAF = 8
"""Rows of the largest block that is inverted row by row."""


@in_float32
def regularized_solve(
    q: Float[Array, "batch length heads key"],
    G: Float[Array, "batch length heads key key"],
    penalty: Float[Array, "heads key"],
) -> Float[Array, "batch length heads key"]:
    """Solutions p of all tokens and heads.

    Args:
        q: Right-hand sides.
        G: Matrices before the penalty.
        penalty: Diagonal lambda of each head.
    """
    diagonal = penalty[..., None] * jnp.eye(q.shape[-1], dtype=penalty.dtype)[None]
    return (inverse(G + diagonal[None, None]) @ q[..., None])[..., 0]


@functools.partial(inverting, precision="highest")
def inverse(A: Float[Array, "*axes n n"]) -> Float[Array, "*axes n n"]:
    """Inverses of matrices whose leading blocks have one."""
    n = A.shape[-1]
    if n <= LEAF:
        return jax.lax.fori_loop(0, n, _eliminate, A)
    h = n // 2
    a, b, c, d = A[..., :h, :h], A[..., :h, h:], A[..., h:, :h], A[..., h:, h:]
    first = inverse(a)
    below, right = _dot(c, first), _dot(first, b)
    second = inverse(d - _dot(below, b))
    corner = _dot(right, second)
    top = jnp.concatenate([first + _dot(corner, below), -corner], axis=-1)
    bottom = jnp.concatenate([-_dot(second, below), second], axis=-1)
    return jnp.concatenate([top, bottom], axis=-2)


_dot = functools.partial(jnp.matmul, precision="highest")


def _eliminate(i: Array, M: Array) -> Array:
    """One step of Gauss and Jordan's inversion in place."""
    here = jnp.arange(M.shape[-1]) == i
    lead = (None,) * (M.ndim - 1)
    column = jax.lax.dynamic_index_in_dim(M, i, -1, keepdims=False)
    row = jax.lax.dynamic_index_in_dim(M, i, -2, keepdims=False)
    pivot = jax.lax.dynamic_index_in_dim(row, i, -1)
    row = jnp.where(here[lead[1:]], 1, row) / pivot
    column = jnp.where(here[lead[1:]], 0, column)
    rest = jnp.where(here[lead], 0, M) - column[..., None] * row[..., None, :]
    return jnp.where(here[lead[1:]][..., None], row[..., None, :], rest)
