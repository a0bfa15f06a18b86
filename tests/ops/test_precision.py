"""The types that operations compute in."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops.linear_recurrence import linear_recurrence
from mecheval_jax.ops.long_convolution import long_convolution
from mecheval_jax.ops.precision import beside
from mecheval_jax.ops.selective_scan import selective_scan
from mecheval_jax.ops.short_convolution import short_convolution
from tests.support import references
from tests.support.twins import normal, scan_arguments


# Catches an op that computes in another type than its input's, and one that loses digits.
@pytest.mark.parametrize(
    ("op", "twin", "arguments"),
    [
        (long_convolution, references.long_convolution, (normal(0, 2, 65, 3), normal(1, 65, 3))),
        (selective_scan, references.selective_scan, scan_arguments(65)),
        (
            short_convolution,
            references.short_convolution,
            (normal(0, 2, 65, 3), normal(1, 4, 3), normal(2, 3)),
        ),
        (
            linear_recurrence,
            references.linear_recurrence,
            (1 / (1 + np.exp(normal(0, 2, 65, 3))), normal(1, 2, 65, 3)),
        ),
    ],
    ids=["long_convolution", "selective_scan", "short_convolution", "linear_recurrence"],
)
def test_float32(op, twin, arguments):
    expected = twin(*arguments)
    y = jax.jit(op)(*(jnp.asarray(a, jnp.float32) for a in arguments))
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())


# Catches states that are kept in the half precision of their inputs.
@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        (linear_recurrence, (1 / (1 + np.exp(normal(0, 2, 65, 3))), normal(1, 2, 65, 3))),
        (selective_scan, scan_arguments(65)),
    ],
    ids=["linear_recurrence", "selective_scan"],
)
def test_half_precision_is_computed_in_float32(op, arguments):
    half = [jnp.asarray(a, jnp.bfloat16) for a in arguments]
    expected = op(*(a.astype(jnp.float32) for a in half)).astype(jnp.bfloat16)
    chex.assert_trees_all_equal(op(*half), expected)


# Catches a sum of 8 bits, which ends at 256 ones, values that are rounded, and a lost axis.
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 1), (1, 3)])
def test_gradients_of_what_all_tokens_share(dtype, shape):
    parameter = jnp.asarray(normal(0, *shape), dtype)
    for lead in ((), (5,), (4, 300)):
        x = jnp.ones((*lead, 2, 3), dtype)
        y, pull = jax.vjp(lambda parameter: beside(parameter, x) * x, parameter)  # noqa: B023
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, np.broadcast_to(parameter, y.shape))
        (gradient,) = pull(x)
        assert (gradient.dtype, gradient.shape) == (dtype, shape)
        count = np.prod(lead) * 6 / np.prod(shape)
        np.testing.assert_allclose(gradient.astype(jnp.float32), count, rtol=4e-3)
