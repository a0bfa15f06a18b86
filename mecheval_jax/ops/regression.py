"""The system that MesaNet solves at every token: ridge regression from keys to values.

    p = (G + diag(lambda))^-1 q

with G a weighted sum of k k^T. G and lambda may be anything for which the matrix has an inverse, as
they are after an intervention on the state.
"""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.mesh_axes import DOCUMENTS, MODEL, current_mesh, fitted
from mecheval_jax.ops.precision import in_float32


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
    mesh = current_mesh()
    if mesh is None:
        return _solve(q, G, penalty)
    # XLA cannot partition a solve over devices: each solves the systems that it has.
    layouts = ((DOCUMENTS, None, MODEL), (DOCUMENTS, None, MODEL), (MODEL,))
    shapes = (q.shape, G.shape, penalty.shape)
    specs = tuple(fitted(*pair, mesh.shape) for pair in zip(layouts, shapes, strict=True))
    return jax.shard_map(_solve, in_specs=specs, out_specs=specs[0])(q, G, penalty)


def _solve(q: Array, G: Array, penalty: Array) -> Array:
    diagonal = penalty[..., None] * jnp.eye(q.shape[-1], dtype=penalty.dtype)[None]
    return jnp.linalg.solve(G + diagonal[None, None], q[..., None])[..., 0]
