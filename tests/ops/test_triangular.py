"""Triangular matrices over the tokens of a chunk, against what they are by definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops.triangular import (
    SPAN,
    decayed_products,
    decayed_sums,
    sums_after,
    sums_before,
)
from tests.support.twins import check, normal


def by_loops(rows, keys, log_decay):
    """The sum by its definition, of two sets of rows and of keys."""
    size = log_decay.shape[-2]
    found = np.zeros((*rows.shape[:-1], 2 * size))
    for t in range(2 * size):
        for s in range(2 * size):
            if s % size < t % size:
                between = log_decay[..., s % size + 1 : t % size, :]
                products = rows[..., t, :] * keys[..., s, :] * np.exp(between.sum(axis=-2))
                found[..., t, s] = products.sum(axis=-1)
    return found


# Catches a decay of the tokens s or t themselves, halves that are joined in the wrong place, and
# sets that are mixed up.
@pytest.mark.parametrize("size", [1, 5, 20])
@pytest.mark.parametrize("decayed", [1, 3])
def test_decayed_products(size, decayed):
    rows, keys = normal(0, 2, 1, 2 * size, 3), normal(1, 2, 1, 2 * size, 3)
    log_decay = -np.exp(normal(2, 2, 1, size, decayed))
    check(decayed_products, by_loops, [rows, keys, log_decay])


# Catches factors on the wrong side of the middle, and digits that are lost at the ends of a chunk
# of the strongest decays that may be taken in one step.
@pytest.mark.parametrize("size", [1, 5, 64])
def test_decayed_products_of_weak_decays(size):
    rows, keys = normal(0, 2, 1, 2 * size, 3), normal(1, 2, 1, 2 * size, 3)
    least = -SPAN / size
    log_decay = least / (1 + np.exp(-4 * normal(2, 2, 1, size, 3)))
    check(lambda *given: decayed_products(*given, least), by_loops, [rows, keys, log_decay])
    strongest = [rows, keys, np.full_like(log_decay, least)]
    found = jax.jit(lambda *given: decayed_products(*given, least))(*map(jnp.float32, strongest))
    np.testing.assert_allclose(found, by_loops(*strongest), atol=1e-5, rtol=1e-5)


# Catches a sum that includes its own token.
def test_sums():
    x = normal(0, 2, 5, 3)
    for sums, part in ((sums_before, lambda t: x[:, :t]), (sums_after, lambda t: x[:, t + 1 :])):
        expected = np.stack([part(t).sum(axis=1) for t in range(5)], axis=1)
        np.testing.assert_allclose(jax.jit(sums)(x.astype(np.float32)), expected, atol=1e-5)


# Catches a decay of the tokens s or t themselves, and weights of later tokens that are read.
@pytest.mark.parametrize("size", [1, 5, 20])
def test_decayed_sums(size):
    def twin(weights, values, log_decay):
        found = np.zeros(values.shape)
        for t in range(size):
            for s in range(t):
                decay = np.exp(log_decay[..., s + 1 : t, :].sum(axis=-2))
                found[..., t, :] += weights[..., t, s, None] * values[..., s, :] * decay
        return found

    weights, values = normal(0, 2, 1, size, size), normal(1, 2, 1, size, 3)
    check(decayed_sums, twin, [weights, values, -np.exp(normal(2, 2, 1, size, 3))])
