"""Products of queries and keys that reflections between them have turned (PaTH attention).

    p[t, s] = k[s]^T H[s+1] ... H[t] q[t],    H[r] = I - beta[r] w[r] w[r]^T,    s <= t

Equivalently every token reflects the keys of all before it. In a chunk that finds the keys K_0, its
tokens take sum_r w[r] u[r, s] from them with

    (I + A) u = beta (w . K_0),  0 where s >= r,    A[r, r'] = beta[r] (w[r] . w[r']),  r' < r
    p[t, s] = q[t] . K_0[s] - sum_{r <= t} (q[t] . w[r]) u[r, s]

(the UT transform, Yang et al. 2025). Keys are carried from chunk to chunk, so that the time grows
with the square of the length, like that of attention.
"""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.ops.chunks import chunk_of, split
from mecheval_jax.ops.inverses import inverse_of_unit_lower
from mecheval_jax.ops.precision import in_float32


@in_float32
def reflected_products(
    q: Float[Array, "batch length heads key"],
    k: Float[Array, "batch length heads key"],
    w: Float[Array, "batch length heads key"],
    beta: Float[Array, "batch length heads"],
) -> Float[Array, "batch heads length source"]:
    """Products p of all pairs; those of s > t are products with the key as it was.

    Args:
        q: Queries.
        k: Keys.
        w: Directions of the reflections, of norm 1.
        beta: Strengths of the reflections: 1 projects w away, 2 reflects.
    """
    length, size = q.shape[1], chunk_of(q.shape[1])
    queries, directions, strengths = (split(x, size) for x in (q, w, beta[..., None]))
    own = jnp.einsum("...rk,...sk->...rs", directions, directions)
    solve = inverse_of_unit_lower(strengths * own)
    reads = jnp.tril(jnp.einsum("...tk,...rk->...tr", queries, directions))
    index = jnp.arange(queries.shape[0] * size).reshape(-1, size)

    def advance(keys: Array, chunk: tuple[Array, ...]) -> tuple[Array, Array]:
        q, w, beta, solve, reads, index = chunk
        before = (index[:, None] > jnp.arange(length)[None, :])[None, None]
        meets = jnp.where(before, beta * jnp.einsum("bhrk,bshk->bhrs", w, keys), 0)
        u = jnp.einsum("bhrx,bhxs->bhrs", solve, meets)
        products = jnp.einsum("bhtk,bshk->bhts", q, keys) - jnp.einsum("bhtr,bhrs->bhts", reads, u)
        return keys - jnp.einsum("bhrs,bhrk->bshk", u, w), products

    rows = (queries, directions, strengths, solve, reads, index)
    products = jax.lax.scan(advance, k, rows)[1]
    batch, heads = q.shape[0], q.shape[2]
    return jnp.moveaxis(products, 0, 2).reshape(batch, heads, -1, length)[:, :, :length]


@in_float32
def reflect(
    keys: Float[Array, "batch length heads key"],
    w_t: Float[Array, "batch heads key"],
    beta_t: Float[Array, "batch heads"],
) -> Float[Array, "batch length heads key"]:
    """Keys of earlier tokens after one more token has reflected them."""
    meets = beta_t[:, None] * jnp.einsum("bhk,bshk->bsh", w_t, keys)
    return keys - meets[..., None] * w_t[:, None]
