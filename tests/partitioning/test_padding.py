"""Spare rows of the vocabulary's tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.partitioning.padding import resize_tables
from tests.support import small


@pytest.mark.parametrize("tied", [True, False])
def test_spare_rows(tied):
    """Catches spare rows that change a logit, draw a gradient or remain in what is kept."""
    model = ModelConfig("attention", 1, 16, 19, 8, tied=tied, feed_forward="none")
    params = jax.jit(lambda key: initialize(model, key))(jax.random.key(0))
    padded = resize_tables(params, 24)
    sizes = [len(padded["token_embedding"]["embedding"])]
    sizes += [] if tied else [padded["output_head"]["kernel"].shape[1]]
    assert set(sizes) == {24}
    tokens = jnp.arange(8).reshape(2, 4)

    @jax.jit
    def logits_and_gradients(params):
        def loss(params):
            logits = LanguageModel(model, len(params["token_embedding"]["embedding"])).apply(
                {"params": params}, tokens
            )
            return jax.nn.logsumexp(logits, axis=-1).sum() + logits.mean(), logits

        return jax.grad(loss, has_aux=True)(params)

    (gradients, logits), (wide, same) = map(logits_and_gradients, (params, padded))
    np.testing.assert_allclose(same, logits, atol=1e-6)
    assert all(not leaf.any() for leaf in jax.tree.leaves(_spare(wide)))
    small.assert_same_bits(resize_tables(padded, 19), params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), resize_tables(wide, 19), gradients
    )


def _spare(params):
    spare = [params["token_embedding"]["embedding"][19:]]
    return spare + ([params["output_head"]["kernel"][:, 19:]] if "output_head" in params else [])
