"""Small models, their logits and their activations, each computed once for all tests."""

import functools

import jax

from mecheval_jax.array_types import PyTree
from mecheval_jax.interventions.capture import observe
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.tasks.base import Batch
from tests.support import planted

MIXERS = ("attention", "base_conv", "based", "hyena", "mamba")
SIX = ("block_input", "mixer_input", "mixer_output", "mlp_input", "mlp_output", "block_output")
FOUR = ("block_input", "mixer_input", "mixer_output", "block_output")


def canonical(paths):
    return [path for path in paths if "/mixer/" not in path]


@functools.cache
def observed_of(mixer):
    """A model, its logits and all its activations."""
    config, params, task = planted.lively(mixer)
    batch = planted.documents(task, 4)
    model = LanguageModel(config)
    look = jax.jit(lambda params, tokens: observe(model, params, tokens))
    logits, activations = look(params, batch.tokens)
    return config, params, batch, logits, activations


def accuracy(config: ModelConfig, params: PyTree, batch: Batch) -> float:
    """The share of the queries of documents that a model answers."""
    logits = jax.jit(LanguageModel(config).apply)(
        {"params": params}, batch.tokens, batch.query_positions
    )
    return float((logits.argmax(axis=-1) == batch.targets).mean())
