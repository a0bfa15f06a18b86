"""Recurrences and transforms are computed in float32, whatever the activations are in."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp


def in_float32(op: Callable) -> Callable:
    """Wrap an op: inputs of half precision are widened, the result is in the first one's type."""

    def widen(x):
        is_half = isinstance(x, jax.Array) and x.dtype in (jnp.bfloat16, jnp.float16)
        return x.astype(jnp.float32) if is_half else x

    @functools.wraps(op)
    def wrapped(*arguments, **options):
        dtype = arguments[0].dtype
        if dtype not in (jnp.bfloat16, jnp.float16):
            return op(*arguments, **options)
        results = op(*jax.tree.map(widen, arguments), **options)
        return jax.tree.map(lambda y: y.astype(dtype), results)

    return wrapped
