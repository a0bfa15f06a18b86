"""The delta rule against its plain twin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.ops.delta_rule import delta_rule, delta_rule_states
from tests.support import references
from tests.support.matrix_twins import (
    BATCH,
    HEADS,
    KEY,
    LENGTHS,
    VALUE,
    check_at_extremes,
    delta_arguments,
    extreme_decays,
)
from tests.support.twins import check, normal


# Catches an inverse that is wrong beyond the first blocks, a write that forgets the decay between
# two tokens, and a read before the write.
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("backend", ["sequential", "chunked"])
def test_delta_rule(length, backend):
    op = lambda *arguments: delta_rule(*arguments, backend=backend)
    check(op, references.delta_rule, delta_arguments(length))


# Catches a chunked form that loses its digits where keys repeat: powers of the matrix that is
# inverted grow like binomials then.
def test_delta_rule_with_repeated_keys():
    q, k, v, beta, log_decay = (a.astype(np.float32) for a in delta_arguments(64))
    k = np.broadcast_to(k[:, :1], k.shape)
    beta, log_decay = np.full_like(beta, 0.99), np.zeros_like(log_decay)
    arguments = (q, k, v, beta, log_decay)
    expected = references.delta_rule(*(a.astype(np.float64) for a in arguments))
    y = jax.jit(lambda *a: delta_rule(*a, backend="chunked"))(*arguments)
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())


# Catches a state that is replaced after it was read, and one whose old content lives on.
@pytest.mark.parametrize("backend", ["sequential", "chunked"])
@pytest.mark.parametrize("entries", [False, True])
def test_delta_rule_states(backend, entries):
    _, k, v, beta, log_decay = delta_arguments(9)
    shape = (BATCH, 9, HEADS, KEY, VALUE)
    drawn = np.random.default_rng(5).uniform(size=shape) < 0.2
    mask = drawn if entries else np.arange(9)[None, :, None, None, None] == 4
    value = normal(6, *shape)
    with jax.enable_x64(True):
        arguments = [jnp.asarray(a) for a in (k, v, beta, np.exp(log_decay))]
        entry = {"value": jnp.asarray(value), "mask": jnp.asarray(mask)}
        states = jax.jit(lambda *a: delta_rule_states(*a, entry, backend))(*arguments)
    expected = references.delta_rule_states(k, v, beta, log_decay, mask, value)
    np.testing.assert_allclose(states, expected, rtol=1e-10, atol=1e-10)


# Catches exponentials taken before the mask, sums of logarithms that lose all digits beside one
# that is huge, and 0 * inf in a gradient: states that vanish at once in one head or channel and
# never in another, by turns.
@pytest.mark.parametrize("backend", ["sequential", "chunked"])
def test_extreme_decays(backend):
    q, k, v, beta, _ = delta_arguments(40)
    op = lambda *arguments: delta_rule(*arguments, backend=backend)
    check_at_extremes(op, references.delta_rule, (q, k, v, beta, extreme_decays(1)))


# Catches a misspelt backend that falls back on another one.
def test_unknown_backend():
    arguments = (jnp.asarray(a, jnp.float32) for a in delta_arguments(2))
    with pytest.raises(UserError, match=r"'cuda'.*chunked"):
        delta_rule(*arguments, backend="cuda")
