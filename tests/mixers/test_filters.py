"""Filters of long convolutions: their constants, and their limit."""

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers.filters import linspace
from tests.support import golden_files
from tests.support.mixer_cases import LIMIT, WIDTH, example


# Catches points that are rounded twice, or spaced as NumPy spaces them: off by one bit, which
# float64 shows in a filter's output.
def test_constants_of_hyena_to_the_bit():
    for name, prefix in (
        ("mixer__hyena_d16", ""),
        ("lm__hyena", "backbone.layers.0.sequence_mixer."),
    ):
        state, _ = golden_files.load(name)
        time = state[f"{prefix}filter_fn.pos_emb.t"].ravel()
        rates = state[f"{prefix}filter_fn.modulation.deltas"].ravel()
        np.testing.assert_array_equal(linspace(0, 1, len(time)), time)
        slow, fast = np.log(0.01) / 1.5, np.log(0.01) / 0.3
        np.testing.assert_array_equal(linspace(slow, fast, len(rates)), rates)


# Catches a filter that is silently cut, or tiled, beyond its limit.
@pytest.mark.parametrize("case", ["base_conv_implicit", "base_conv_explicit", "hyena"])
def test_longer_than_the_filter(case):
    mixer, variables, _ = example(case)
    mixer.apply(variables, jnp.zeros((1, LIMIT, WIDTH)))
    with pytest.raises(UserError, match=f"{LIMIT + 1} tokens.*{LIMIT}"):
        mixer.apply(variables, jnp.zeros((1, LIMIT + 1, WIDTH)))
