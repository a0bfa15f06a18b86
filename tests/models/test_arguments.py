"""Tokens and parameters that a model is given; `test_misuses` has what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import run
from mecheval_jax.models.arguments import check_count, tokens_of
from mecheval_jax.models.decoding import greedy
from tests.support.two_runs import subject_of


@pytest.fixture(scope="module")
def attention():
    return subject_of("attention")


def test_tokens(attention):
    """Catches tokens that are refused where they are traced, and on the host."""
    model, tokens = attention.model, attention.tokens
    assert tokens_of(model, tokens) is tokens
    assert jax.jit(lambda tokens: tokens_of(model, tokens))(tokens).shape == tokens.shape
    with pytest.raises(UserError, match=r"tokens are 0 to 999: the model's vocabulary has 0 to"):
        run(model, attention.params, jnp.array([[0, 999]]))
    with pytest.raises(UserError, match=r"tokens are 0 to 999: the model's vocabulary has 0 to"):
        greedy(model, attention.params, jnp.array([[0, 999]]), 1)


def test_documents_without_tokens(attention):
    """Catches a division by their length inside a mixer."""
    with pytest.raises(UserError, match=r"the tokens are int32\[2, 0\]: the documents are empty"):
        run(attention.model, attention.params, jnp.zeros((2, 0), jnp.int32))


def test_no_documents(attention):
    """Catches a division by their number inside a mixer."""
    for call in (run, lambda *given: greedy(*given, 1)):
        with pytest.raises(UserError, match=r"int32\[0, 3\]: there are no documents"):
            call(attention.model, attention.params, jnp.zeros((0, 3), jnp.int32))


@pytest.mark.parametrize("wrong", [0, 3.0, "3", True, None])
def test_counts_that_are_none(wrong):
    """Catches a number that fails where an array gets its shape."""
    with pytest.raises(UserError, match=rf"count is {wrong!r}: it takes a whole number, at least"):
        check_count("count", wrong)
    check_count("count", np.int64(3))


def test_parameters_of_another_model(attention):
    """Catches a message about scopes, and a nested copy or the first layers of parameters."""
    model, params, tokens = attention.model, attention.params, attention.tokens
    layer = params["block_0"]
    more = ({**params, "block_2": layer}, {**params, "block_0": {**layer, "gate": jnp.zeros(2)}})
    shaped = (
        {},
        {"params": params},
        {**params, 3: {}},
        jax.tree.map(lambda leaf: leaf[:1], params),
    )
    for wrong in (None, [params], *more, *shaped):
        with pytest.raises(UserError, match="the params are not those of this model"):
            run(model, wrong, tokens)
        with pytest.raises(UserError, match="the params are not those of this model"):
            greedy(model, wrong, tokens[:, :2], 1)
