"""Chunks of a sequence: how they are cut, and the products of their decays, by loops."""

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops import chunks
from mecheval_jax.ops.chunks import CHUNK
from tests.support.twins import normal


# Catches heads that are mixed up with tokens, padding in front, and padding that is left.
@pytest.mark.parametrize("length", [1, CHUNK, CHUNK + 1])
def test_split_and_join(length):
    x = normal(0, 2, length, 3, 4)
    cut = np.asarray(chunks.split(jnp.asarray(x)))
    assert cut.shape == (-(-length // CHUNK), 2, 3, CHUNK, 4)
    for t in range(length):
        np.testing.assert_array_equal(cut[t // CHUNK, :, :, t % CHUNK], x[:, t].astype(np.float32))
    assert not cut[-1, :, :, (length - 1) % CHUNK + 1 :].any()
    np.testing.assert_array_equal(chunks.join(jnp.asarray(cut), length), x.astype(np.float32))


# Catches a product that holds the decay of its first token, or not that of its last, and one that
# is no zero where a token would read its future.
@pytest.mark.parametrize("key", [1, 3])
def test_decays(key):
    log_decay = -np.exp(normal(0, 1, 1, 2, CHUNK, key) - 2)
    found = chunks.decays(jnp.asarray(log_decay))
    decay = np.exp(log_decay)[0, 0]
    for t in range(CHUNK):
        np.testing.assert_allclose(found.start[0, 0, :, t], decay[:, : t + 1].prod(1), rtol=1e-5)
        np.testing.assert_allclose(found.end[0, 0, :, t], decay[:, t + 1 :].prod(1), rtol=1e-5)
        for s in range(CHUNK):
            expected = decay[:, s + 1 : t + 1].prod(1) if s <= t else np.zeros((2, key))
            np.testing.assert_allclose(found.between[0, 0, :, t, s], expected, rtol=1e-5)
    np.testing.assert_allclose(found.whole[0, 0], decay.prod(1), rtol=1e-5)
