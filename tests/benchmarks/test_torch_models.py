"""The baseline computes what our models compute, so that times of both can be compared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
baseline = pytest.importorskip("mecheval_jax.benchmarks.torch_models")


# Catches a baseline that is fast because it leaves something out.
@pytest.mark.parametrize("mixer", baseline.MIXERS)
def test_logits_are_those_of_our_model(mixer):
    positions = "learned" if mixer == "attention" else "none"
    config = ModelConfig(mixer, 2, 64, 24, 32, positions=positions)
    params = jax.tree.map(
        lambda leaf: leaf + 0.05 * np.cos(np.arange(leaf.size)).reshape(leaf.shape),
        initialize(config, jax.random.key(0)),
    )
    tokens = np.random.default_rng(0).integers(0, 24, (3, 17), np.int32)
    asked = np.array([[16, 3]] * 3)
    ours = LanguageModel(config).apply({"params": params}, jnp.array(tokens), jnp.array(asked))
    model = baseline.TorchModel(config)
    model.load(params)
    theirs = model(torch.tensor(tokens).long(), torch.tensor(asked))
    np.testing.assert_allclose(theirs.detach(), ours, atol=2e-5, rtol=1e-4)


# Catches a parameter of ours that the baseline would leave at its initial value.
def test_every_parameter_is_taken():
    config = ModelConfig("attention", 1, 16, 8, 8)
    params = initialize(config, jax.random.key(0)) | {"another": np.zeros(1)}
    with pytest.raises(ValueError, match="another"):
        baseline.TorchModel(config).load(params)
