"""Linear recurrences against their plain twin."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops import selective_scan as selective_scan_module
from mecheval_jax.ops.linear_recurrence import BACKENDS, linear_recurrence, resolve_backend
from tests.support import references
from tests.support.twins import BATCH, WIDTH, check, normal

LENGTHS = (1, 2, 7, 64, 65)  # the loops are unrolled by 5: with a remainder and without


LONG = 200  # several chunks, of which the last is not full


# Catches a parallel scan with its operator the wrong way round, a forgotten initial state, a
# chunk that starts from another's state, a gradient that runs past the padding.
@pytest.mark.parametrize("length", [*LENGTHS, LONG])
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_linear_recurrence(length, backend):
    decay = np.random.default_rng(0).uniform(0, 1, (BATCH, length, WIDTH))
    decay = decay ** [1, 0.1, 0.001]  # the last channel remembers across many chunks
    write, initial = normal(1, BATCH, length, WIDTH), normal(2, BATCH, WIDTH)
    op = lambda *arguments: linear_recurrence(*arguments, backend=backend)
    check(op, references.linear_recurrence, (decay, write, initial))


# Catches a decay that is matched with the wrong axes, and a gradient that is not summed over them.
@pytest.mark.parametrize("shared", [(WIDTH, 1, 1), (1, 1, 4)])
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_linear_recurrence_with_a_shared_decay(backend, shared):
    decay = np.random.default_rng(0).uniform(0, 1, (BATCH, 65, *shared))
    write, initial = normal(1, BATCH, 65, WIDTH, 2, 4), normal(2, BATCH, WIDTH, 2, 4)
    op = lambda *arguments: linear_recurrence(*arguments, backend=backend)
    check(op, references.linear_recurrence, (decay, write, initial))


# Catches a decay of all tokens, or of all sequences, that is taken for that of the first.
@pytest.mark.parametrize("lead", [(BATCH, 1), (1, 65), (1, 1)])
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_linear_recurrence_with_one_decay_for_all_tokens(backend, lead):
    decay = np.random.default_rng(0).uniform(0, 1, (*lead, WIDTH))
    write, initial = normal(1, BATCH, 65, WIDTH), normal(2, BATCH, WIDTH)
    op = lambda *arguments: linear_recurrence(*arguments, backend=backend)
    whole = np.broadcast_to(decay, write.shape)
    expected = references.linear_recurrence(whole, write, initial)
    got = jax.jit(op)(*map(jnp.asarray, (decay, write, initial)))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    slope = jax.grad(lambda decay: op(decay, jnp.asarray(write), jnp.asarray(initial)).sum())
    shared = jax.jit(slope)(jnp.asarray(decay))
    axes = tuple(axis for axis, size in enumerate(lead) if size == 1)
    each = jax.jit(slope)(jnp.asarray(whole)).sum(axis=axes, keepdims=True)
    np.testing.assert_allclose(shared, each, rtol=1e-4, atol=1e-4)


# Catches a decay without the state's axes, which would be matched with batch and length.
def test_linear_recurrence_refuses_a_decay_of_another_rank():
    with pytest.raises(AssertionError, match="rank"):
        linear_recurrence(jnp.ones((2, 2, 2)), jnp.ones((2, 2, 2, 2)))


# Catches an `auto` that takes, on some platform, what was never measured there.
@pytest.mark.parametrize(
    ("platform", "expected"),
    [("cpu", "sequential"), ("gpu", "associative"), ("tpu", "associative")],
)
def test_auto_backend(monkeypatch, platform, expected):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    assert resolve_backend("auto") == expected
    assert resolve_backend("auto", selective_scan_module.BACKENDS) == expected


# Catches a division by a product of decays: it underflows, and the result is not finite.
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_linear_recurrence_at_extreme_decays(backend):
    decay = np.ones((1, 140, 3), np.float32) * np.array([0.0, 1e-30, 1.0], np.float32)
    write = normal(0, 1, 140, 3).astype(np.float32)

    @jax.jit
    def value_and_gradients(decay, write):
        y, pull_back = jax.vjp(lambda a, b: linear_recurrence(a, b, backend=backend), decay, write)
        return y, pull_back(jnp.ones_like(y))

    y, gradients = value_and_gradients(decay, write)
    np.testing.assert_allclose(y, references.linear_recurrence(decay, write), atol=1e-5)
    chex.assert_tree_all_finite(gradients)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_projection_and_then_a_whole_state(dtype):
    """Catches a loop over wide states that a narrower value ends with an error about types."""
    write, value = (jnp.full((BATCH, 3, WIDTH), one, dtype) for one in (1, 2))
    entry = {"value": value, "projection": jnp.eye(WIDTH, dtype=dtype), "then": {"value": value}}
    op = jax.jit(lambda write: linear_recurrence(write, write, entry=entry))
    states = op(write)
    assert states.dtype == dtype
    np.testing.assert_array_equal(states, value)


# Catches a misspelt backend that falls back on another one.
def test_unknown_backend():
    arguments = (jnp.ones((1, 2, 3)),) * 2
    with pytest.raises(ValueError, match=r"'cuda'.*auto"):
        linear_recurrence(*arguments, backend="cuda")
