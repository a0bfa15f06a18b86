"""Output heads, beside plain products."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.models.output_head import output_head, tied_logits
from tests.support.twins import normal


def test_a_model_of_float32_has_the_bits_of_a_plain_product():
    """Catches a head that sums in another order, or in another type, than it always has."""
    read, table = (jnp.asarray(normal(i, *shape), jnp.float32) for i, shape in enumerate(SHAPES))
    plain = jax.jit(lambda read, table: jnp.dot(read, table.T))(read, table)
    np.testing.assert_array_equal(jax.jit(tied_logits)(read, table), plain)
    params = {"params": {"kernel": table.T}}
    plain = jax.jit(nn.Dense(len(table), use_bias=False).apply)(params, read)
    np.testing.assert_array_equal(jax.jit(output_head(len(table)).apply)(params, read), plain)


SHAPES = (2, 5, 16), (19, 16)
