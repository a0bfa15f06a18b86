"""Computation of recurrences and transforms in float32, whatever dtype the activations have."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Shaped


def in_float32(op: Callable) -> Callable:
    """Wrap an op so that half-precision inputs are widened to float32.

    The results are cast back to the dtype of the first argument.
    """

    def widen(x: Any) -> Any:
        is_half = isinstance(x, jax.Array) and x.dtype in (jnp.bfloat16, jnp.float16)
        return x.astype(jnp.float32) if is_half else x

    @functools.wraps(op)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        dtype = arguments[0].dtype
        if dtype not in (jnp.bfloat16, jnp.float16):
            return op(*arguments, **options)
        results = op(*jax.tree.map(widen, arguments), **options)
        return jax.tree.map(lambda y: y.astype(dtype), results)

    return wrapped


def wide_type(*arrays: Any) -> Any:
    """The type of what is computed from arrays: float32, or theirs if that is wider."""
    return jnp.promote_types(jnp.result_type(*arrays), jnp.float32)


def is_wide(x: Shaped[Array, "*axes"]) -> bool:
    """Whether an array is in float32 or wider."""
    return x.dtype == wide_type(x)


def widened(x: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
    """An array in float32, or as it is if that is wider."""
    return x.astype(wide_type(x))


def exp_wide(logarithms: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
    """Exponentials in float32 or wider: in half precision decays near 1 would not decay at all."""
    return jnp.exp(widened(logarithms))


def beside(parameter: Float[Array, "*own"], x: Float[Array, "*axes"]) -> Float[Array, "..."]:
    """A parameter that all tokens share, as it stands beside their activations.

    Its values stay what they are. Its gradient is a sum over all tokens of all documents, which is
    taken in float32: a sum of 8 bits goes no further where a term is less than half its last bit,
    after some 256 like ones.

    Args:
        parameter: Parameter of the last axes of `x`, or of axes of size 1 in their place.
        x: Activations.
    """
    if is_wide(parameter):
        return parameter[(None,) * (x.ndim - parameter.ndim)]
    shape = jnp.broadcast_shapes(parameter.shape, x.shape)
    return jnp.broadcast_to(widened(parameter), shape).astype(jnp.result_type(parameter, x))
