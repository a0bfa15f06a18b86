"""Whole models, their activations and interventions give the reference's numbers.

Catches a wrong norm, residual, tied head or site, and an intervention that lands at
another place than it says. The arrays came from the reference language model and its
interchange interventions, see `golden_files`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.evaluation.patching.grid import default_sites
from mecheval_jax.interop import from_reference
from mecheval_jax.interventions import capture, compose, interchange, run
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.scoring import score, weighted_mean
from tests.support import golden_files
from tests.support.golden_files import relative_error

LAYERS = 2
COMPONENTS = {
    "block_input": "block_input",
    "attention_input": "mixer_input",
    "attention_output": "mixer_output",
    "mlp_input": "mlp_input",
    "mlp_output": "mlp_output",
    "block_output": "block_output",
}
"""Names in the files, and ours."""


@functools.cache
def reference(name):
    """The model, its parameters and the arrays of a file."""
    state, arrays = golden_files.load(f"lm__{name}")
    config = ModelConfig(
        mixer=name,
        layers=LAYERS,
        width=32,
        vocabulary_size=44,
        max_length=64,
        positions="learned" if name == "attention" else "none",
    )
    return LanguageModel(config), from_reference(state, config), arrays


def double(params):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)


@functools.cache
def observed(name):
    """Logits, loss and activations of the clean run, in float64."""
    model, params, arrays = reference(name)

    length = arrays["ids_L16"].shape[1]

    @jax.jit
    def observe(params, tokens, labels):
        logits = model.apply({"params": params}, tokens)
        batch = Batch(  # every token but the first is an answer, -100 marks those left out
            tokens=tokens,
            query_positions=jnp.broadcast_to(jnp.arange(length - 1), labels[:, 1:].shape),
            targets=jnp.maximum(labels[:, 1:], 0),
            weights=(labels[:, 1:] != -100).astype(logits.dtype),
            roles={},
            lengths=jnp.full(len(tokens), length),
        )
        loss = weighted_mean(score(logits[:, :-1], batch).loss, batch.weights)
        return logits, loss, capture(model, params, tokens)

    with jax.enable_x64(True):
        tokens, labels = (jnp.asarray(arrays[f"{n}_L16"], jnp.int32) for n in ("ids", "labels"))
        return observe(double(params), tokens, labels)


@pytest.mark.parametrize("name", golden_files.LANGUAGE_MODELS)
def test_logits_in_float32(name):
    model, params, arrays = reference(name)
    tokens = jnp.asarray(arrays["ids_L16"], jnp.int32)
    logits = jax.jit(model.apply)({"params": params}, tokens)
    assert logits.dtype == jnp.float32
    assert relative_error(logits, arrays["logits64_L16"]) < 1e-5


@pytest.mark.parametrize("name", golden_files.LANGUAGE_MODELS)
def test_logits_and_loss_in_float64(name):
    logits, loss, _ = observed(name)
    _, _, arrays = reference(name)
    assert relative_error(logits, arrays["logits64_L16"]) < 1e-10
    assert relative_error(loss, arrays["loss64_L16"]) < 1e-10


@pytest.mark.parametrize("name", golden_files.LANGUAGE_MODELS)
def test_activations(name):
    _, _, activations = observed(name)
    _, _, arrays = reference(name)
    compared = 0
    for theirs, ours in COMPONENTS.items():
        for layer in range(LAYERS):
            expected = arrays.get(f"act64_{theirs}{layer}_L16")
            if expected is not None:
                assert relative_error(activations[f"block_{layer}/{ours}"], expected) < 1e-10
                compared += 1
    assert compared == 4 * LAYERS


@pytest.mark.parametrize("name", golden_files.LANGUAGE_MODELS)
def test_interchange(name):
    model, params, arrays = reference(name)
    _, _, clean = observed(name)
    sites = default_sites(model.config)
    read = arrays["ids_L16"].shape[1] - 2

    # All cuts in one program: each site has positions of its own, -1 for no cut.
    @jax.jit
    def restored(params, corrupted, clean, positions):
        patches = [interchange(clean, [site], positions[i]) for i, site in enumerate(sites)]
        return run(model, params, corrupted, compose(*patches))[:, read]

    nowhere = np.full((len(sites), 2), -1)
    with jax.enable_x64(True):
        corrupted = jnp.asarray(arrays["ic_corrupt_ids"], jnp.int32)
        logits = functools.partial(restored, double(params), corrupted, clean)
        untouched = arrays["ic64_corrupt_logits_at_Lm2"]
        assert relative_error(logits(nowhere), untouched) < 1e-10

        compared, changed = 0, 0
        for key, expected in arrays.items():
            if not key.startswith("ic64_") or key == "ic64_corrupt_logits_at_Lm2":
                continue
            component, layer, where = key.removeprefix("ic64_").rsplit("_", 2)
            positions = nowhere.copy()
            positions[sites.index(f"block_{layer}/{COMPONENTS[component]}")] = (
                arrays["ic_corrupt_pos"] if where == "same" else (read, read)
            )
            assert relative_error(logits(positions), expected) < 1e-10, key
            compared += 1
            changed += relative_error(expected, untouched) > 1e-3
    assert compared == 2 * len(sites)
    # Most cuts leave a trace; those after the last mixing, elsewhere than at the query, cannot.
    assert changed >= compared // 2
