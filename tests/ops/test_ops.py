"""Operations against their plain twins, in value and in gradient."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops import long_convolution as long_convolution_module
from mecheval_jax.ops import selective_scan as selective_scan_module
from mecheval_jax.ops import selective_scan_kernel
from mecheval_jax.ops.feature_maps import taylor_exp
from mecheval_jax.ops.linear_recurrence import BACKENDS, linear_recurrence, resolve_backend
from mecheval_jax.ops.long_convolution import long_convolution
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.selective_scan import selective_scan
from mecheval_jax.ops.short_convolution import short_convolution
from tests.support import references

SCAN_BACKENDS = selective_scan_module.BACKENDS[1:]  # all but auto

LENGTHS = (1, 2, 7, 64, 65)  # the loops are unrolled by 5: with a remainder and without
LONG = 1000  # many chunks, of which the last is not full
BATCH, WIDTH, STATE = 2, 3, 5  # the scan's kernel pads the state to a power of two


def normal(key, *shape):
    return np.random.default_rng(key).normal(size=shape)


def check(op, twin, arguments):
    """Value and gradient of `op` are the twin's, in float64.

    The twin's gradient is a central difference along a random direction, for each argument.
    """
    weight = normal(10, *np.shape(twin(*arguments)))
    with jax.enable_x64(True):

        @jax.jit
        def value_and_gradients(*arguments):
            y, pull_back = jax.vjp(op, *arguments)
            return y, pull_back(jnp.asarray(weight))

        y, gradients = value_and_gradients(*(jnp.asarray(a) for a in arguments))
    y, gradients = jax.tree.map(np.asarray, (y, gradients))
    np.testing.assert_allclose(y, twin(*arguments), rtol=1e-10, atol=1e-10)
    step = 1e-6
    for i, gradient in enumerate(gradients):
        direction = normal(20 + i, *arguments[i].shape)
        up, down = (
            (weight * twin(*arguments[:i], arguments[i] + move, *arguments[i + 1 :])).sum()
            for move in (step * direction, -step * direction)
        )
        scale = np.sqrt((gradient**2).sum())
        expected = (up - down) / (2 * step)
        np.testing.assert_allclose((gradient * direction).sum(), expected, atol=1e-6 * (1 + scale))


# Catches taps in the wrong order, a window off by one, a bias that is lost.
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kernel", [1, 4])
def test_short_convolution(length, kernel):
    x, weight, bias = normal(0, BATCH, length, WIDTH), normal(1, kernel, WIDTH), normal(2, WIDTH)
    check(short_convolution, references.short_convolution, (x, weight, bias))


# Catches an FFT that wraps round, is normalised twice, or a filter that is reversed.
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("backend", ["toeplitz", "fft", "direct"])
def test_long_convolution(length, backend):
    x, filter = normal(0, BATCH, length, WIDTH), normal(1, length, WIDTH)
    op = lambda x, filter: long_convolution(x, filter, backend)
    check(op, references.long_convolution, (x, filter))


# Catches an `auto` that leaves the FFT unused, or that gives something else than the FFT.
def test_long_convolution_beyond_the_toeplitz_limit():
    length = long_convolution_module.TOEPLITZ_LIMIT + 1
    x, filter = jnp.ones((1, length, 1)), jnp.ones((length, 1))
    jaxpr = lambda x: str(jax.make_jaxpr(long_convolution)(x, filter[: x.shape[1]]))
    assert " fft[" in jaxpr(x)
    assert " fft[" not in jaxpr(x[:, :-1])
    expected = np.arange(1, length + 1)  # of ones with ones: the number of tokens so far
    np.testing.assert_allclose(long_convolution(x, filter)[0, :, 0], expected, rtol=1e-5)


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


def scan_arguments(length):
    x, dt = normal(0, BATCH, length, WIDTH), np.exp(normal(1, BATCH, length, WIDTH))
    A = -np.exp(normal(2, WIDTH, STATE))
    B, C = normal(3, BATCH, length, STATE), normal(4, BATCH, length, STATE)
    return x, dt, A, B, C


# Catches an error in a hand-written gradient, and a swap of B and C.
@pytest.mark.parametrize("length", [*LENGTHS, LONG])
@pytest.mark.parametrize("backend", SCAN_BACKENDS)
def test_selective_scan(length, backend):
    op = lambda *arguments: selective_scan(*arguments, backend=backend)
    check(op, references.selective_scan, scan_arguments(length))


# Catches a hand-written gradient that is right only along some directions: every entry counts;
# and a kernel that mixes up its blocks of channels, or adds the gradients of padded ones.
def test_selective_scan_gradients_agree_entry_by_entry(monkeypatch):
    monkeypatch.setattr(selective_scan_kernel, "BLOCK", 2)  # two blocks, half of one padded

    def gradients(backend):
        loss = lambda *arguments: (selective_scan(*arguments, backend=backend) ** 3).sum()
        return jax.jit(jax.grad(loss, argnums=range(5)))(*map(jnp.asarray, scan_arguments(12)))

    with jax.enable_x64(True):
        derived = gradients("associative")
        for backend in ("sequential", "pallas"):
            for ours, theirs in zip(gradients(backend), derived, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


# Catches a kernel that only the interpreter understands. It is lowered here, not compiled.
@pytest.mark.parametrize(("platform", "name"), [("gpu", "cuda"), ("tpu", "tpu")])
def test_selective_scan_kernel_is_lowered_for_accelerators(monkeypatch, platform, name):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    loss = lambda *arguments: selective_scan(*arguments, backend="pallas").sum()
    arguments = (jnp.asarray(a, jnp.float32) for a in scan_arguments(7))
    program = jax.jit(jax.grad(loss)).trace(*arguments).lower(lowering_platforms=(name,))
    call = {"cuda": "__gpu$xla.gpu.triton", "tpu": "tpu_custom_call"}[name]
    assert program.as_text().count(f"@{call}(") == 2  # forward and backward


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


# Catches a wrong coefficient of the expansion.
def test_taylor_features_expand_the_exponential():
    q, k = normal(0, 5, 8), normal(1, 5, 8)
    u = (q * k).sum(axis=-1) / np.sqrt(8)
    features_q, features_k = taylor_exp(jnp.asarray(q)), taylor_exp(jnp.asarray(k))
    assert features_q.shape == (5, 1 + 8 + 64)
    product = (features_q * features_k).sum(axis=-1)
    np.testing.assert_allclose(product, 1 + u + u**2 / 2, rtol=1e-4)


# Catches positions of one document read from another, and a copy where none is needed.
@pytest.mark.parametrize("channels", [(), (3,), (2, 3)])
def test_at_positions(channels):
    x = jnp.asarray(normal(0, 2, 5, *channels))
    positions = jnp.array([[4, 0, 4], [1, 2, 3]])
    expected = np.stack([np.asarray(x)[i, row] for i, row in enumerate(positions)])
    np.testing.assert_array_equal(at_positions(x, positions), expected)
    assert at_positions(x, None) is x


# Catches a misspelt backend that falls back on another one.
@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        (long_convolution, (np.ones((1, 2, 3), np.float32), np.ones((2, 3), np.float32))),
        (linear_recurrence, (np.ones((1, 2, 3), np.float32),) * 2),
        (selective_scan, scan_arguments(2)),
    ],
    ids=["long_convolution", "linear_recurrence", "selective_scan"],
)
def test_unknown_backend(op, arguments):
    arguments = (jnp.asarray(a, jnp.float32) for a in arguments)
    with pytest.raises(ValueError, match=r"'cuda'.*auto"):
        op(*arguments, backend="cuda")


class ShortConvolutionVariants(chex.TestCase):
    """Catches Python control flow on values, which only the compiled form would refuse."""

    @chex.variants(with_jit=True, without_jit=True)
    def test_all_variants_agree(self):
        x, weight = normal(0, 2, 6, 3), normal(1, 3, 3)
        y = self.variant(short_convolution)(jnp.asarray(x), jnp.asarray(weight))
        np.testing.assert_allclose(y, references.short_convolution(x, weight), rtol=1e-5, atol=1e-5)
