"""The short convolution of several parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers.short_convolution import ShortConvolution


@pytest.mark.parametrize("use_bias", [True, False])
def test_parts_are_slices_of_the_whole(use_bias):
    """Catches taps of another part, and a bias that is lost or added where there is none."""
    x = jax.random.normal(jax.random.key(0), (2, 5, 10))
    convolution = ShortConvolution(10, 3, use_bias)
    params = convolution.init(jax.random.key(2), x)
    parts = jnp.split(x, (6, 9), axis=-1)
    convolved = convolution.apply(params, parts, (None,) * 3, method="parts")
    expected = convolution.apply(params, x)
    np.testing.assert_allclose(jnp.concatenate(convolved, -1), expected, atol=1e-5)


@pytest.mark.parametrize("kernel", [0, -1])
def test_a_convolution_without_taps_is_refused(kernel):
    """Catches a division by zero for an option of a mixer of one's own."""
    with pytest.raises(UserError, match=f"a short convolution of {kernel} taps: at least 1"):
        ShortConvolution(4, kernel)
