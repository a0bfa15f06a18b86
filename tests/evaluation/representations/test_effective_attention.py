"""Effective attention: the matrices of every mixer give back what the mixer read."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.representations.effective_attention import (
    effective_attention,
    reduce_heads,
)
from tests.support import planted
from tests.support.mixing import DOCUMENTS, LENGTH, MIXERS, measured


# Catches an image that adds channels up, where opposite signs would cancel, or mixes up heads.
def test_images():
    found, _, _ = measured()
    attention, mamba = (found[MIXERS.index(name)] for name in ("attention", "mamba"))
    pattern = np.asarray(reduce_heads(attention))
    np.testing.assert_array_equal(pattern, attention.matrices)
    np.testing.assert_allclose(pattern.sum(axis=-1), 1, atol=1e-5)
    seen = np.asarray(reduce_heads(mamba))
    assert seen.shape == (DOCUMENTS, 1, LENGTH, LENGTH)
    channels = np.asarray(mamba.matrices)[1, :, 5, 2]
    np.testing.assert_allclose(seen[1, 0, 5, 2], np.sqrt(np.mean(channels**2)), rtol=1e-5)


# Catches a made-up matrix where there can be none, and an index that wraps round.
def test_mixers_and_layers_without_matrices():
    config, params, _ = planted.untrained("lstm", layers=1)
    with pytest.raises(UserError, match=r"LSTM has no effective attention.*Mamba2"):
        effective_attention(config, params, {}, 0)
    with pytest.raises(UserError, match="layer -1: the model has layers 0 to 0"):
        effective_attention(config, params, {}, -1)
