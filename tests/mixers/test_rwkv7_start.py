"""Initial values and ranks of RWKV-7."""

import jax
import numpy as np
import pytest

from mecheval_jax.mixers.rwkv7_start import initial_values, rank_of


# Catches a rank that is rounded down, or taken from another map's factor.
@pytest.mark.parametrize(
    ("name", "width", "rank"), [("w", 64, 32), ("g", 64, 32), ("g", 400, 96), ("v", 1024, 64)]
)
def test_ranks(name, width, rank):
    assert rank_of(name, width) == rank


# Catches layers counted from 1, a zigzag over all channels in place of a head's, and mixtures
# that do not differ between layers.
def test_values():
    first, last = (jax.tree.map(np.asarray, initial_values(8, 2, i, 2)) for i in (0, 1))
    np.testing.assert_allclose(first["x_r"][4], 1 - 0.5**0.2, rtol=1e-6)
    np.testing.assert_allclose(last["x_k"][4], 1 - 0.5**0.35, rtol=1e-6)
    np.testing.assert_allclose(first["w0"][[0, 3]], [-5.5 - 2.5, -5.5 + 6 * 3 / 7 + 2.5], rtol=1e-6)
    np.testing.assert_allclose(last["w0"][7], -5.5 + 6 + 2.5, rtol=1e-6)
    np.testing.assert_allclose(first["a0"][0], -0.19 - 0.3 - 0.2, rtol=1e-6)
    np.testing.assert_allclose(
        [first["ln_scale"][0], last["ln_scale"][0]], [0.5**0.7, 1], rtol=1e-6
    )
