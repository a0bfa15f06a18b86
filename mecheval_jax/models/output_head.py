"""Output heads: from what a model reads of a token to the logits of the next one.

Logits are summed in float32 and not rounded: in bfloat16 those between 8 and 16 would be
multiples of 1/16, which is more than many effects that are measured by them.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.mixers import initializers
from mecheval_jax.ops.precision import wide_type


def _wide_dot_general(a: Array, b: Array, dimensions: Any, precision: Any = None) -> Array:
    """`jax.lax.dot_general` with results in float32 or wider."""
    kind = wide_type(a, b)
    return jax.lax.dot_general(a, b, dimensions, precision, preferred_element_type=kind)


def tied_logits(
    read: Float[Array, "*axes width"], embedding: Float[Array, "rows width"]
) -> Float[Array, "*axes rows"]:
    """Logits of a model whose output head is the embedding, in float32 or wider."""
    return jnp.dot(read, embedding.T, preferred_element_type=wide_type(read, embedding))


def output_head(rows: int) -> nn.Dense:
    """An output head of its own, of so many tokens; it gives logits in float32 or wider."""
    dense, wide = initializers.dense, _wide_dot_general
    return nn.Dense(rows, use_bias=False, kernel_init=dense, dot_general=wide)
