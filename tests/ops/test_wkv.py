"""RWKV's weighted averages against their plain twin."""

import chex
import jax
import numpy as np
import pytest

from mecheval_jax.ops.wkv import wkv
from tests.support import references
from tests.support.matrix_twins import (
    BATCH,
    LENGTHS,
    VALUE,
    value_and_gradients,
)
from tests.support.twins import check, normal


# Catches a sum that overflows, a bonus that stays in the state, and two spans joined in reverse.
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("backend", ["sequential", "associative"])
def test_wkv(length, backend):
    k, v = normal(0, BATCH, length, VALUE), normal(1, BATCH, length, VALUE)
    w, u = -np.exp(normal(2, VALUE)), normal(3, VALUE)
    op = lambda *arguments: wkv(*arguments, backend=backend)[0]
    check(op, references.wkv, (k, v, w, u))


# Catches exp(k) without a maximum taken off: k is not bounded.
@pytest.mark.parametrize("backend", ["sequential", "associative"])
def test_wkv_of_extreme_weights(backend):
    k, v = 300 * normal(0, 1, 40, 3), normal(1, 1, 40, 3)
    w, u = np.array([-1e-8, -1e4, -1.0]), np.array([0.0, 200.0, -200.0])
    op = lambda *arguments: wkv(*arguments, backend=backend)[0]
    y, gradients = jax.jit(lambda *a: value_and_gradients(op, *a))(k, v, w, u)
    expected = references.wkv(k, v, w, u)
    np.testing.assert_allclose(y, expected, atol=1e-4)
    chex.assert_tree_all_finite(gradients)
