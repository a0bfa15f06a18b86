"""The long convolution against its plain twin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops import long_convolution as long_convolution_module
from mecheval_jax.ops.long_convolution import long_convolution
from tests.support import references
from tests.support.twins import BATCH, WIDTH, check, normal

LENGTHS = (1, 2, 7, 64, 65)  # the loops are unrolled by 5: with a remainder and without


# Catches an FFT that wraps round, is normalised twice, or a filter that is reversed.
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("backend", ["toeplitz", "fft", "direct"])
def test_long_convolution(length, backend):
    x, filter = normal(0, BATCH, length, WIDTH), normal(1, length, WIDTH)
    op = lambda x, filter: long_convolution(x, filter, backend)
    check(op, references.long_convolution, (x, filter))


# Catches an output of another token, taps that are counted from the wrong end, and later tokens.
@pytest.mark.parametrize("queries", [1, 2])
def test_some_positions(queries):
    x, filter = normal(0, BATCH, 7, WIDTH), normal(1, 7, WIDTH)
    positions = np.random.default_rng(2).integers(0, 7, (BATCH, queries))
    op = lambda x, filter: long_convolution(x, filter, positions=jnp.asarray(positions))
    rows = lambda y: np.take_along_axis(y, positions[..., None], axis=1)
    check(op, lambda x, filter: rows(references.long_convolution(x, filter)), (x, filter))


# Catches an `auto` that leaves the FFT unused, or that gives something else than the FFT.
def test_long_convolution_beyond_the_toeplitz_limit():
    length = long_convolution_module.TOEPLITZ_LIMIT + 1
    x, filter = jnp.ones((1, length, 1)), jnp.ones((length, 1))
    jaxpr = lambda x: str(jax.make_jaxpr(long_convolution)(x, filter[: x.shape[1]]))
    assert " fft[" in jaxpr(x)
    assert " fft[" not in jaxpr(x[:, :-1])
    expected = np.arange(1, length + 1)  # of ones with ones: the number of tokens so far
    np.testing.assert_allclose(long_convolution(x, filter)[0, :, 0], expected, rtol=1e-5)


# Catches a misspelt backend that falls back on another one.
def test_unknown_backend():
    arguments = jnp.ones((1, 2, 3)), jnp.ones((2, 3))
    with pytest.raises(ValueError, match=r"'cuda'.*auto"):
        long_convolution(*arguments, backend="cuda")
