"""Effective attention: which tokens a mixer reads at each token, whatever mixer it is.

The matrices of `influence`, which times the mixer's values give its inner output exactly, computed
from what the mixer has on a document. They stand beside the pattern of attention, for which they
are that pattern; but for other mixers entries may be negative and rows need not sum to 1.
"""

from collections.abc import Callable

import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.representations import mixing_matrices as influence
from mecheval_jax.evaluation.representations.mixing_matrices import Influence
from mecheval_jax.interventions.capture import Activations
from mecheval_jax.mixers.attention import Attention
from mecheval_jax.mixers.base_conv import BaseConv
from mecheval_jax.mixers.based import Based
from mecheval_jax.mixers.h3 import H3
from mecheval_jax.mixers.hyena import Hyena
from mecheval_jax.mixers.mamba import Mamba
from mecheval_jax.mixers.mamba2 import Mamba2
from mecheval_jax.mixers.matrix_state import MatrixStateMixer
from mecheval_jax.mixers.rwkv import RWKV4
from mecheval_jax.mixers.s4d import S4D
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.site_path import SitePath

MIXERS: dict[type, Callable[..., Influence]] = {
    Attention: influence.of_attention,
    Based: influence.of_based,
    MatrixStateMixer: influence.of_matrix_state,
    Mamba: influence.of_mamba,
    Mamba2: influence.of_mamba2,
    RWKV4: influence.of_rwkv4,
    S4D: influence.of_s4d,
    H3: influence.of_h3,
    Hyena: influence.of_hyena,
    BaseConv: influence.of_base_conv,
}
"""Mixers that are linear in their values, subclasses included. An LSTM is not."""


def effective_attention(
    config: ModelConfig, params: PyTree, activations: Activations, layer: int
) -> Influence:
    """The matrices of one layer's mixer on some documents.

    Pure and traceable; under `jax.jit` only what the matrices need is computed. Their size is
    documents x streams x length^2, with a stream for every inner channel of Mamba, Hyena, S4D,
    RWKV-4 and BaseConv.

    Args:
        config: the shape of the model.
        params: its parameters.
        activations: what `capture` collects on the documents, at all sites.
        layer: index of the layer, from 0.

    Raises:
        UserError: no such layer, or a mixer that is not linear in its values.
    """
    if not 0 <= layer < config.layers:
        raise UserError(f"layer {layer}: the model has layers 0 to {config.layers - 1}")
    mixer = LanguageModel(config).bind({"params": params}).block[layer].mixer
    of_mixer = _method(type(mixer))
    sites = {SitePath.parse(path): value for path, value in activations.items()}
    x = sites[SitePath(layer, "canon_output" if config.canon else "mixer_input")]
    inside = {s.name: value for s, value in sites.items() if s.layer == layer and s.in_mixer}
    return of_mixer(mixer, inside, x)


def _method(mixer: type) -> Callable[..., Influence]:
    """How the matrices of a class of mixers are computed."""
    for kind in mixer.__mro__:
        if kind in MIXERS:
            return MIXERS[kind]
    valid = ", ".join(kind.__name__ for kind in MIXERS)
    raise UserError(
        f"{mixer.__name__} has no effective attention: it is not linear in the values of its "
        f"tokens; those of {valid} are"
    )


def reduce_heads(influence: Influence) -> Float[Array, "documents heads destination source"]:
    """The matrices to be looked at: one a head, or one for all channels.

    Where every channel has its own, the root mean square over the channels, which has no sign.
    """
    if influence.streams == "head":
        return influence.matrices
    return jnp.sqrt((influence.matrices**2).mean(axis=1, keepdims=True))
