"""Sums of decays between two tokens, and heads that share keys."""

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.mixers.pattern import repeated, summed_decays


# Catches a sum that counts the source's own decay, or not the query's, and queries of another
# document.
def test_sums_of_decays():
    log_decay = -np.random.default_rng(0).uniform(size=(2, 6, 3)).astype(np.float32)
    positions = np.array([[5, 0], [2, 4]])
    got = summed_decays(jnp.asarray(log_decay), jnp.asarray(positions))
    assert got.shape == (2, 3, 2, 6)
    for b, query, s in np.ndindex(2, 2, 6):
        t = positions[b, query]
        if s <= t:
            expected = log_decay[b, s + 1 : t + 1].sum(axis=0)
            np.testing.assert_allclose(got[b, :, query, s], expected, atol=1e-6)


# Catches a difference of running sums, in which one strong decay spoils all sums behind it.
@pytest.mark.parametrize("strong", [-jnp.inf, -1e7])
def test_a_strong_decay_spoils_no_other_sum(strong):
    log_decay = -np.random.default_rng(0).uniform(size=(2, 7, 3)).astype(np.float32)
    log_decay[:, 2, 0] = strong
    got = np.asarray(summed_decays(jnp.asarray(log_decay), None))
    for t, s in np.ndindex(7, 7):
        expected = log_decay[:, s + 1 : t + 1].sum(axis=1)
        np.testing.assert_allclose(got[:, :, t, s], expected, rtol=1e-6)


# Catches shared heads that are dealt out in turn: neighbours share one.
def test_shared_heads():
    shared = jnp.arange(2.0)[None, None, :, None]
    np.testing.assert_array_equal(repeated(shared, 4)[0, 0, :, 0], [0, 0, 1, 1])
