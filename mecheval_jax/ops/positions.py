"""Reading a sequence at some of its positions."""

import jax.numpy as jnp

from mecheval_jax.array_types import Array, Int, Shaped


def at_positions(
    x: Shaped[Array, "batch length *channels"], positions: Int[Array, "batch queries"] | None
) -> Shaped[Array, "batch positions *channels"]:
    """Row `positions[b, q]` of each sequence of `x`; `x` itself where `positions` is None."""
    if positions is None:
        return x
    return jnp.take_along_axis(x, positions.reshape(*positions.shape, *(1,) * (x.ndim - 2)), axis=1)
