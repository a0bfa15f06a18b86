"""Numbers of an accelerator equal those of the CPU beside it; skipped where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.mixers import ARCHITECTURES
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize

pytestmark = pytest.mark.skipif(jax.default_backend() == "cpu", reason="there is no accelerator")

TOLERANCE = 1e-4
"""Of logits and gradients, relative to the largest, with products in full float32."""


# Catches a backend that only accelerators take, and is wrong.
@pytest.mark.parametrize("mixer", ARCHITECTURES)
def test_logits_and_gradients_are_those_of_the_cpu(mixer):
    config = ModelConfig(mixer, 2, 64, 32, 64)
    tokens = jax.random.randint(jax.random.key(1), (2, 40), 0, 32)

    def loss(params, tokens):
        logits = LanguageModel(config).apply({"params": params}, tokens)
        return jnp.square(logits).mean(), logits

    params = initialize(config, jax.random.key(0))
    found = []
    for device in (jax.devices()[0], jax.devices("cpu")[0]):
        with jax.default_matmul_precision("float32"):
            arguments = jax.device_put((params, tokens), device)
            found.append(jax.device_get(jax.jit(jax.grad(loss, has_aux=True))(*arguments)))
    for here, there in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(here, there, atol=TOLERANCE * np.abs(there).max())
