"""Selection of some positions of a sequence."""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int, Shaped
from mecheval_jax.mesh_axes import DOCUMENTS, FREE, spread


def at_positions(
    x: Shaped[Array, "batch length *channels"], positions: Int[Array, "batch queries"] | None
) -> Shaped[Array, "batch positions *channels"]:
    """Rows `positions[b, q]` of each sequence b of `x`; all of `x` if `positions` is None."""
    if positions is None:
        return x
    index = positions.reshape(*positions.shape, *(1,) * (x.ndim - 2))
    return spread(jnp.take_along_axis(x, index, axis=1), DOCUMENTS, *(FREE,) * (x.ndim - 1))


def from_positions(
    x: Float[Array, "batch queries *channels"],
    positions: Int[Array, "batch queries"] | None,
    length: int,
) -> Float[Array, "batch length *channels"]:
    """Undo `at_positions`: zeros at all other positions, and at one that was read twice the mean.

    It is a product of each sequence alone, so that devices with different ones exchange nothing.
    """
    if positions is None:
        return x
    ones = jax.nn.one_hot(positions, length, dtype=x.dtype)
    ones = ones / jnp.maximum(ones.sum(axis=1, keepdims=True), 1)
    return jnp.einsum("bq...,bql->bl...", x, ones, precision="highest")
