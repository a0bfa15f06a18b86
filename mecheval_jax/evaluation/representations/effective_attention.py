"""Effective attention: which tokens any mixer reads at each token.

The matrices of `mixing_matrices` give a mixer's inner output exactly when multiplied by its values.
Here they are computed from activations on a document. For attention they are its pattern; for other
mixers entries may be negative and rows need not sum to 1.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.representations.mixing_matrices import MixingMatrices, matrices_of
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.capture import Activations, capture
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.ops.precision import widened
from mecheval_jax.site_path import SitePath


def effective_attention(
    config: ModelConfig, params: PyTree, activations: Activations, layer: int
) -> MixingMatrices:
    """The matrices of one layer's mixer on some documents.

    Pure and traceable; under `jax.jit` only what the matrices need is computed. Their size is
    documents x streams x length^2, and Mamba, Hyena, S4D, RWKV-4 and BaseConv have a stream for
    every inner channel.

    Args:
        config: Config of the model.
        params: Parameters of the model.
        activations: Activations of the documents at all sites, as `capture` gives them.
        layer: Index of the layer, from 0.

    Raises:
        UserError: If the model has no such layer, or its mixer is not linear in its values.
    """
    if not 0 <= layer < config.layers:
        raise UserError(f"layer {layer}: the model has layers 0 to {config.layers - 1}")
    model = LanguageModel(config).bind({"params": params})  # layers may share its parameters
    mixer = model.block[layer].mixer
    parsed = ((SitePath.parse(path), value) for path, value in activations.items())
    here = {site: widened(value) for site, value in parsed if site.layer == layer}
    read = "canon_output" if config.block(layer).has_canon("A") else "mixer_input"
    inside = {site.name: value for site, value in here.items() if site.in_mixer}
    return matrices_of(mixer, inside, here.get(SitePath(layer, read)))


def reduce_heads(mixing: MixingMatrices) -> Float[Array, "documents heads destination source"]:
    """The matrices for display: one for each head, or for each of its steps; one for all channels.

    For channels it is the root mean square over them, which has no sign.
    """
    if mixing.streams == "head":
        return mixing.matrices
    return jnp.sqrt((mixing.matrices**2).mean(axis=1, keepdims=True))


def check_linear(subject: Subject) -> None:
    """Check that all mixers are linear in their values; nothing is computed.

    Raises:
        UserError: If one is not.
    """
    looked_at = functools.partial(_reduced, subject.model)
    jax.eval_shape(looked_at, subject.params, _first_document(subject))


def _first_document(subject: Subject) -> Array:
    """Tokens of the first document, without padding; an axis of one document before them."""
    return subject.batch.tokens[:1, : int(subject.batch.lengths[0])]


def _reduced(
    model: LanguageModel, params: PyTree, tokens: Array
) -> list[tuple[Float[Array, "streams destination source"], int]]:
    """The matrices of every layer on one document, for display, and how many are of one head."""
    config, activations = model.config, capture(model, params, tokens)
    layers = range(config.layers)
    mixing = (effective_attention(config, params, activations, layer) for layer in layers)
    return [(reduce_heads(each)[0], each.summed) for each in mixing]


def _titles(layer: int, streams: int, steps: int) -> list[str]:
    """Names of a layer's matrices; heads and steps have a number where there are several."""
    heads = streams // steps
    return [
        f"layer {layer}"
        + (f", head {head}" if heads > 1 else "")
        + (f", step {step}" if steps > 1 else "")
        for head in range(heads)
        for step in range(steps)
    ]


def attention_rows(subject: Subject) -> Iterator[dict[str, Any]]:
    """The matrices of every layer on the first document; gives the long table, one entry a row."""
    tokens = _first_document(subject)
    length = tokens.shape[1]
    names = [subject.task.name_of(int(token)) for token in tokens[0]]
    reduced = jax.jit(_reduced, static_argnums=0)(subject.model, subject.params, tokens)
    for layer, (matrices, steps) in enumerate(jax.device_get(reduced)):
        titles = _titles(layer, len(matrices), int(steps))
        for title, matrix in zip(titles, matrices, strict=True):
            for i, j in zip(*np.tril_indices(length), strict=True):
                place = {"matrix": title, "destination": int(i), "source": int(j)}
                place |= {"destination_token": names[i], "source_token": names[j]}
                yield place | {"metric": "influence", "value": float(matrix[i, j])}
