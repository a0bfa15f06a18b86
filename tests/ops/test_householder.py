"""Products of queries with keys that tokens between them reflect."""

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops.householder import reflect, reflected_products
from tests.support import references, twins
from tests.support.twins import normal


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def arguments(length):
    q, k, w = (normal(i, 2, length, 3, 4) for i in range(3))
    return q, k, unit(w), 2 / (1 + np.exp(normal(3, 2, length, 3)))


# Catches reflections in the wrong order or of the key's own token, and chunks that are not joined.
@pytest.mark.parametrize("length", [1, 7, 40])
def test_value_and_gradient(length):
    visible = np.tri(length, dtype=bool)[None, None]
    twins.check(
        lambda *a: jnp.where(visible, reflected_products(*a), 0),
        lambda *a: np.where(visible, references.reflected_products(*a), 0),
        arguments(length),
    )


# Catches a step that reflects with half the strength, or the keys of another document.
def test_a_token_reflects_the_keys():
    _, k, w, beta = arguments(5)
    got = reflect(*map(jnp.asarray, (k, w[:, 2], beta[:, 2])))
    for b, s, h in np.ndindex(2, 5, 3):
        move = np.eye(4) - beta[b, 2, h] * np.outer(w[b, 2, h], w[b, 2, h])
        np.testing.assert_allclose(got[b, s, h], move @ k[b, s, h], atol=1e-5)
