"""Attention whose weights depend on the level of a pair."""

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops.log_linear_attention import (
    advance_levels,
    log_linear_attention,
    log_linear_states,
    read_levels,
)
from tests.support import references, twins
from tests.support.twins import normal


def arguments(length):
    q, k = (normal(i, 2, length, 3, 4) for i in range(2))
    return (
        *(q, k, normal(2, 2, length, 3, 5), -np.exp(normal(3, 2, length, 3) - 1)),
        np.exp(normal(4, 2, length, 3, 8)),
    )


# Catches levels within a chunk that are counted from its own start, states that merge a chunk
# early or late, and a decay over a chunk that is left out. 70 tokens are five chunks.
@pytest.mark.parametrize("length", [1, 7, 16, 17, 70])
def test_value_and_gradient(length):
    twins.check(log_linear_attention, references.log_linear_attention, arguments(length))


# Catches states that are merged on another level than the one that they are read with.
def test_states_of_all_levels():
    q, k, v, log_decay, weights = arguments(13)
    arrays = [jnp.asarray(a, jnp.float32) for a in (q, k, v, log_decay, weights)]
    write = arrays[1][..., None] * arrays[2][..., None, :]
    states = log_linear_states(write, arrays[3], 8)
    assert states.shape[3] == 5  # tokens 0 to 12 differ in four digits
    expected = references.log_linear_attention(q, k, v, log_decay, weights)
    got = read_levels(states, arrays[0], arrays[4])
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())
    found = jnp.zeros_like(states[:, 0])
    for t in range(13):
        found = advance_levels(found, write[:, t], arrays[3][:, t], jnp.asarray(t))
        np.testing.assert_allclose(found, states[:, t], atol=1e-5)
        filled = np.abs(np.asarray(found)).max(axis=(0, 1, 3, 4)) > 0
        assert filled[1:].tolist() == [bool(t >> bit & 1) for bit in range(4)]
