"""The selective scan against its plain twin."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops import selective_scan as selective_scan_module
from mecheval_jax.ops.selective_scan import selective_scan
from tests.support import references
from tests.support.twins import STATE, WIDTH, check, scan_arguments

SCAN_BACKENDS = selective_scan_module.BACKENDS[1:]  # all but auto


LENGTHS = (1, 2, 7, 64, 65)  # the loops are unrolled by 5: with a remainder and without


LONG = 300  # several chunks and segments, of which the last is not full


# Catches an error in a hand-written gradient, and a swap of B and C.
@pytest.mark.parametrize("length", [*LENGTHS, LONG])
@pytest.mark.parametrize("backend", SCAN_BACKENDS)
def test_selective_scan(length, backend):
    op = lambda *arguments: selective_scan(*arguments, backend=backend)
    check(op, references.selective_scan, scan_arguments(length))


# Catches exp(-dt A), a logarithm of decays, a gradient of 0 * inf: states that vanish at once
# in one channel and never in another.
@pytest.mark.parametrize("backend", SCAN_BACKENDS)
def test_selective_scan_at_extreme_decays(backend):
    x, _, _, B, C = (jnp.asarray(a, jnp.float32) for a in scan_arguments(140))
    dt = jnp.broadcast_to(jnp.array([1e4, 1e-8, 1.0]), x.shape)
    A = jnp.broadcast_to(jnp.array([-1e4, -1e-8, -1e30])[:, None], (WIDTH, STATE))

    @jax.jit
    def value_and_gradients(*arguments):
        op = lambda *arguments: selective_scan(*arguments, backend=backend)
        y, pull_back = jax.vjp(op, *arguments)
        return y, pull_back(jnp.ones_like(y))

    y, gradients = value_and_gradients(x, dt, A, B, C)
    expected = references.selective_scan(*(np.asarray(a) for a in (x, dt, A, B, C)))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-10)
    chex.assert_tree_all_finite(gradients)


# Catches a misspelt backend that falls back on another one.
def test_unknown_backend():
    arguments = (jnp.asarray(a, jnp.float32) for a in scan_arguments(2))
    with pytest.raises(ValueError, match=r"'cuda'.*auto"):
        selective_scan(*arguments, backend="cuda")
