"""Selection of some positions of a sequence."""

import jax.numpy as jnp

from mecheval_jax.array_types import Array, Int, Shaped
from mecheval_jax.mesh_axes import DOCUMENTS, FREE, spread


def at_positions(
    x: Shaped[Array, "batch length *channels"], positions: Int[Array, "batch queries"] | None
) -> Shaped[Array, "batch positions *channels"]:
    """Rows `positions[b, q]` of each sequence b of `x`; all of `x` if `positions` is None."""
    if positions is None:
        return x
    index = positions.reshape(*positions.shape, *(1,) * (x.ndim - 2))
    return spread(jnp.take_along_axis(x, index, axis=1), DOCUMENTS, *(FREE,) * (x.ndim - 1))
