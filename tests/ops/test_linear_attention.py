"""Linear attention against its plain twin."""

import jax.numpy as jnp
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.ops.linear_attention import linear_attention
from tests.support import references
from tests.support.matrix_twins import (
    KEY,
    LENGTHS,
    attention_arguments,
    check_at_extremes,
    extreme_decays,
)
from tests.support.twins import check


# Catches a chunk that starts from another's state, a decay applied to its own token, a mask off
# by one, and decays that are mixed up between key channels.
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("backend", ["sequential", "chunked"])
@pytest.mark.parametrize("decayed", [1, KEY])
def test_linear_attention(length, backend, decayed):
    op = lambda *arguments: linear_attention(*arguments, backend=backend)
    check(op, references.linear_attention, attention_arguments(length, decayed))


# Catches exponentials taken before the mask, sums of logarithms that lose all digits beside one
# that is huge, and 0 * inf in a gradient: states that vanish at once in one head or channel and
# never in another, by turns.
@pytest.mark.parametrize("backend", ["sequential", "chunked"])
@pytest.mark.parametrize("decayed", [1, KEY])
def test_extreme_decays(backend, decayed):
    q, k, v, _ = attention_arguments(40, decayed)
    op = lambda *arguments: linear_attention(*arguments, backend=backend)
    check_at_extremes(op, references.linear_attention, (q, k, v, extreme_decays(decayed)))


# Catches a misspelt backend that falls back on another one.
def test_unknown_backend():
    arguments = (jnp.asarray(a, jnp.float32) for a in attention_arguments(2, 1))
    with pytest.raises(UserError, match=r"'cuda'.*chunked"):
        linear_attention(*arguments, backend="cuda")
