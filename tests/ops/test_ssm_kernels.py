"""Kernels of state space models, tap by tap."""

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops import ssm_kernels
from tests.support.twins import normal


# Catches a table of powers with a row too few, at lengths that are squares and that are not.
@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 1024, 1025])
def test_s4d_kernel(length):
    C, A = normal(0, 2, 3) + 1j * normal(1, 2, 3), np.exp(-np.exp(normal(2, 2, 3)) + 1j)
    taps = ssm_kernels.s4d_kernel(jnp.asarray(C), jnp.asarray(A), length)
    powers = A[..., None] ** np.arange(length)
    np.testing.assert_allclose(taps, 2 * np.einsum("hn,hnl->lh", C, powers).real, atol=1e-5)


# Catches a correlation that wraps round, or is a convolution; and taps beyond the state.
@pytest.mark.parametrize("length", [3, 5, 9])
def test_shift_kernel(length):
    B, C = normal(0, 2, 5), normal(1, 2, 5)
    taps = ssm_kernels.shift_kernel(jnp.asarray(B), jnp.asarray(C), length)
    expected = np.zeros((length, 2))
    for lag in range(min(length, 5)):
        expected[lag] = (B[:, : 5 - lag] * C[:, lag:]).sum(axis=1)
    np.testing.assert_allclose(taps, expected, atol=1e-5)
