"""Chunks of a sequence: how long they are, and how they are cut."""

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops.chunks import CHUNK, LONGEST, chunk_of, join, split
from tests.support.twins import normal


# Catches heads that are mixed up with tokens, padding in front, and padding that is left.
@pytest.mark.parametrize("length", [1, 16, 17])
def test_split_and_join(length):
    x = normal(0, 2, length, 3, 4)
    cut = np.asarray(split(jnp.asarray(x), 16))
    assert cut.shape == (-(-length // 16), 2, 3, 16, 4)
    for t in range(length):
        np.testing.assert_array_equal(cut[t // 16, :, :, t % 16], x[:, t].astype(np.float32))
    assert not cut[-1, :, :, (length - 1) % 16 + 1 :].any()
    np.testing.assert_array_equal(join(jnp.asarray(cut), length), x.astype(np.float32))


# Catches a short sequence that is cut, and a long one whose cost grows with its square.
def test_lengths():
    assert chunk_of(1) == 1
    assert all(length <= chunk_of(length) < 1.2 * length + 1 for length in range(1, LONGEST + 1))
    assert chunk_of(LONGEST + 1) == chunk_of(4096) == CHUNK
