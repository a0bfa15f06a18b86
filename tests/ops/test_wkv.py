"""RWKV's weighted averages against their plain twin."""

import chex
import jax
import jax.numpy as jnp
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


# Catches 0 / 0 at a first token of weight 0, whose average is its own value.
@pytest.mark.parametrize("backend", ["sequential", "associative"])
def test_wkv_of_a_first_token_without_weight(backend):
    k, v = normal(0, 1, 5, 3), normal(1, 1, 5, 3)
    k[:, 0] = -np.inf
    w, u = -np.ones(3), np.ones(3)
    op = lambda *arguments: wkv(*arguments, backend=backend)[0]
    y, gradients = jax.jit(lambda *a: value_and_gradients(op, *a))(k, v, w, u)
    np.testing.assert_allclose(y[:, 0], v[:, 0], rtol=1e-6)
    np.testing.assert_allclose(y[:, 1:], references.wkv(k[:, 1:], v[:, 1:], w, u), rtol=1e-5)
    chex.assert_tree_all_finite(gradients)


def test_a_replaced_state_reaches_its_own_token():
    """Catches a state that is read from the next token on: at the query it could carry nothing."""
    k, v, others = (normal(seed, BATCH, 9, VALUE) for seed in range(3))
    w, u = -np.exp(normal(3, VALUE)), normal(4, VALUE)
    look = jax.jit(lambda v, entry: wkv(*map(jnp.asarray, (k, v, w, u)), entry))
    y, states = look(v, {})
    new = look(others, {})[1]
    mask = (np.arange(9) == 5)[None, :, None, None]
    patched, rewritten = look(v, {"value": new, "mask": mask})
    np.testing.assert_allclose(rewritten[:, 5], new[:, 5], rtol=1e-6)
    np.testing.assert_allclose(patched[:, :5], y[:, :5], rtol=1e-6)
    n, d, _ = np.moveaxis(np.asarray(new[:, 5]), 1, 0)
    before, under, _ = np.moveaxis(np.asarray(states[:, 5]), 1, 0)
    np.testing.assert_allclose(
        patched[:, 5] - y[:, 5], n / d - before / under, rtol=1e-3, atol=1e-5
    )
    assert np.abs(np.asarray(patched[:, 6:] - y[:, 6:])).max() > 1e-3
    # By itself, or by nothing at all.
    np.testing.assert_allclose(look(v, {"value": states, "mask": mask})[0], y, rtol=1e-5, atol=1e-6)
    assert np.isfinite(look(v, {"value": np.zeros_like(new), "mask": mask})[0]).all()
