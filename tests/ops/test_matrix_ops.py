"""Recurrences of matrices, and what goes with them, against their plain twins."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.ops import ssm_kernels
from mecheval_jax.ops.delta_rule import delta_rule, delta_rule_states
from mecheval_jax.ops.linear_attention import linear_attention
from mecheval_jax.ops.rotary import alibi_slopes, rotary
from mecheval_jax.ops.wkv import wkv
from tests.ops.test_ops import check, normal
from tests.support import references

LENGTHS = (1, 2, 7, 64, 65, 1000)  # chunks of 16: with a remainder and without
BATCH, HEADS, KEY, VALUE = 1, 2, 3, 4


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def attention_arguments(length, decayed):
    """q, k, v, log_decay."""
    shape = (BATCH, length, HEADS)
    q, k, v = normal(0, *shape, KEY), normal(1, *shape, KEY), normal(2, *shape, VALUE)
    return q, k, v, -np.exp(normal(3, *shape, decayed) - 1)


def delta_arguments(length):
    """q, k, v, beta, log_decay."""
    q, k, v, log_decay = attention_arguments(length, 1)
    return q, unit(k), v, 1 / (1 + np.exp(normal(4, BATCH, length, HEADS))), log_decay


# Catches a chunk that starts from another's state, a decay applied to its own token, a mask off
# by one, and decays that are mixed up between key channels.
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("backend", ["sequential", "chunked"])
@pytest.mark.parametrize("decayed", [1, KEY])
def test_linear_attention(length, backend, decayed):
    op = lambda *arguments: linear_attention(*arguments, backend=backend)
    check(op, references.linear_attention, attention_arguments(length, decayed))


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


# Catches a sum that overflows, a bonus that stays in the state, and two spans joined in reverse.
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("backend", ["sequential", "associative"])
def test_wkv(length, backend):
    k, v = normal(0, BATCH, length, VALUE), normal(1, BATCH, length, VALUE)
    w, u = -np.exp(normal(2, VALUE)), normal(3, VALUE)
    op = lambda *arguments: wkv(*arguments, backend=backend)[0]
    check(op, references.wkv, (k, v, w, u))


def value_and_gradients(op, *arguments):
    y, pull_back = jax.vjp(op, *(jnp.asarray(a, jnp.float32) for a in arguments))
    return y, pull_back(jnp.ones_like(y))


# Catches exponentials taken before the mask, sums of logarithms that lose all digits beside one
# that is huge, and 0 * inf in a gradient: states that vanish at once in one head or channel and
# never in another, by turns.
@pytest.mark.parametrize("backend", ["sequential", "chunked"])
@pytest.mark.parametrize("decayed", [1, KEY])
def test_extreme_decays(backend, decayed):
    q, k, v, log_decay = attention_arguments(40, decayed)
    log_decay = np.where(normal(7, *log_decay.shape) > 1, -1e30, log_decay)
    log_decay[:, :, 0] = np.where(normal(8, 40, 1) > 0, -1e-12, -1e4)
    beta = delta_arguments(40)[3]
    cases = [(linear_attention, references.linear_attention, (q, k, v, log_decay))]
    if decayed == 1:
        cases += [(delta_rule, references.delta_rule, (q, unit(k), v, beta, log_decay))]
    for op, twin, arguments in cases:
        run = jax.jit(lambda *a, op=op: value_and_gradients(lambda *b: op(*b, backend=backend), *a))
        y, gradients = run(*arguments)
        expected = twin(*arguments)
        np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())
        chex.assert_tree_all_finite(gradients)


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


# Catches a misspelt backend that falls back on another one.
@pytest.mark.parametrize(
    ("op", "arguments"),
    [(linear_attention, attention_arguments(2, 1)), (delta_rule, delta_arguments(2))],
)
def test_unknown_backend(op, arguments):
    with pytest.raises(UserError, match=r"'cuda'.*chunked"):
        op(*(jnp.asarray(a, jnp.float32) for a in arguments), backend="cuda")


# Catches channels that are paired as neighbours where halves are meant, a turn the wrong way, and
# channels beyond the rotary share that are turned too.
def test_rotary():
    x = normal(0, 2, 5, 3, 8)
    positions = np.array([[0, 1, 2, 3, 4], [7, 7, 0, 1, 30]])
    y = np.asarray(rotary(jnp.asarray(x, jnp.float32), jnp.asarray(positions), 100.0, channels=6))
    np.testing.assert_array_equal(y[..., 6:], x[..., 6:].astype(np.float32))
    first, second = x[..., :3], x[..., 3:6]
    angle = positions[..., None, None] * 100.0 ** (-np.arange(3) / 3)
    turned = (first + 1j * second) * np.exp(1j * angle)
    np.testing.assert_allclose(y[..., :3], turned.real, atol=1e-5)
    np.testing.assert_allclose(y[..., 3:6], turned.imag, atol=1e-5)


# Catches slopes that are only right for powers of 2: the published list for 12 heads.
def test_alibi_slopes():
    np.testing.assert_allclose(alibi_slopes(8), [2.0**-i for i in range(1, 9)])
    expected = [2.0**-i for i in range(1, 9)] + [2.0 ** -(i + 0.5) for i in range(4)]
    np.testing.assert_allclose(alibi_slopes(12), expected)


# Catches a table of powers with a row too few, at lengths that are squares and that are not.
@pytest.mark.parametrize("length", [1, 2, 15, 16, 17])
def test_s4d_kernel(length):
    C, log_A = normal(0, 2, 3) + 1j * normal(1, 2, 3), -np.exp(normal(2, 2, 3)) + 1j
    taps = ssm_kernels.s4d_kernel(jnp.asarray(C), jnp.asarray(log_A), length)
    powers = np.exp(log_A[..., None] * np.arange(length))
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
