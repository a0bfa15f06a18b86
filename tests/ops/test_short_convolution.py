"""The short convolution against its plain twin."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops.short_convolution import shifted, short_convolution
from tests.support import references
from tests.support.twins import BATCH, WIDTH, check, normal

LENGTHS = (1, 2, 7, 64, 65)  # the loops are unrolled by 5: with a remainder and without


# Catches taps in the wrong order, a window off by one, a bias that is lost.
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kernel", [1, 4])
def test_short_convolution(length, kernel):
    x, weight, bias = normal(0, BATCH, length, WIDTH), normal(1, kernel, WIDTH), normal(2, WIDTH)
    check(short_convolution, references.short_convolution, (x, weight, bias))


class ShortConvolutionVariants(chex.TestCase):
    """Catches Python control flow on values, which only the compiled form would refuse."""

    @chex.variants(with_jit=True, without_jit=True)
    def test_all_variants_agree(self):
        x, weight = normal(0, 2, 6, 3), normal(1, 3, 3)
        y = self.variant(short_convolution)(jnp.asarray(x), jnp.asarray(weight))
        np.testing.assert_allclose(y, references.short_convolution(x, weight), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [1, 4])
def test_shifted(length):
    """Catches a shift by none or two, along another axis, or towards the wrong side."""
    x = normal(0, BATCH, length, 2, 3).astype(np.float32)
    there, back = shifted(jnp.asarray(x)), shifted(jnp.asarray(x), reverse=True)
    for t in range(length):
        np.testing.assert_array_equal(there[:, t], x[:, t - 1] if t else 0 * x[:, t])
        np.testing.assert_array_equal(back[:, t], x[:, t + 1] if t + 1 < length else 0 * x[:, t])
