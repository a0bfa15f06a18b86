"""Scores of slots that decay, against a loop over the tokens."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.ops.slots import slot_scores
from tests.support.twins import check, normal


def by_loops(q, k, share, log_decay):
    """The scores by their definition, the slots of every token computed from scratch."""
    found = np.zeros(share.shape)
    for t in range(q.shape[1]):
        slots = np.zeros((*k[:, 0].shape[:2], share.shape[-1], k.shape[-1]))
        for s in range(t + 1):
            slots = np.exp(log_decay[:, s])[..., None] * slots
            slots = slots + share[:, s, ..., None] * k[:, s, :, None, :]
        found[:, t] = np.einsum("bhmk,bhk->bhm", slots, q[:, t])
    return found


def arguments(length):
    q, k = (normal(i, 2, length, 2, 3) for i in range(2))
    log_decay = -np.exp(2 * normal(2, 2, length, 2, 5))
    return [q, k, normal(3, 2, length, 2, 5), log_decay]


# Catches a decay that is taken twice or left out, at a token, over a chunk and where two chunks
# meet (70 tokens are three of them), and a slot that has the decay of another.
@pytest.mark.parametrize("length", [1, 7, 64, 70])
@pytest.mark.parametrize("backend", ["sequential", "chunked"])
def test_value_and_gradient(backend, length):
    check(functools.partial(slot_scores, backend=backend), by_loops, arguments(length))


def test_unknown_backend():
    """Catches a name that is taken for the default."""
    with pytest.raises(UserError, match="associative"):
        slot_scores(*map(jnp.asarray, arguments(3)), backend="associative")
