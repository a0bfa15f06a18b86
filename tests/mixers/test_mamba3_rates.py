"""Both forms of Mamba-3's rates, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.mixers.mamba3_rates import log_decay


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("reciprocal", [1 / 3, 1.0, 3.0, 1e-4]),
        ("softplus", [np.log1p(np.exp(-2)), np.log(2), np.log1p(np.exp(2)), 1e-4]),
    ],
)
def test_rates(form, expected):
    """Catches branches that are exchanged, a rate of 0, and a step that is left out."""
    alpha = jnp.asarray([-2.0, 0.0, 2.0, -1e6])
    found = log_decay(alpha, jnp.full(4, 0.5), form)
    np.testing.assert_allclose(found, -0.5 * np.array(expected), rtol=1e-6)
