"""The short convolution of several parts."""

import functools

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


def test_no_taps_are_the_identity():
    """Catches parameters, a window or a changed input where a mixer has no convolution."""
    x = jax.random.normal(jax.random.key(0), (2, 5, 4))
    convolution = ShortConvolution(4, 0)
    params = convolution.init(jax.random.key(2), x)
    assert not jax.tree.leaves(params)
    convolved = functools.partial(convolution.apply, params)
    np.testing.assert_array_equal(convolved(x), x)
    parts = jnp.split(x, (3,), axis=-1)
    np.testing.assert_array_equal(
        jnp.concatenate(convolved(parts, (None,) * 2, method="parts"), -1), x
    )
    window, y = convolved(convolved(2, method="initial_state"), x[:, 0], method="step")
    assert not window.size
    np.testing.assert_array_equal(y, x[:, 0])


def test_a_negative_number_of_taps_is_refused():
    """Catches an option of a mixer of one's own that is taken for a number of taps."""
    with pytest.raises(UserError, match="a short convolution of -1 taps: at least 0"):
        ShortConvolution(4, -1)
