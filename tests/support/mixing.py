"""A model with every mixer that has mixing matrices, a layer each, and what they are."""

import functools

import jax

from mecheval_jax.evaluation.representations.effective_attention import (
    effective_attention,
)
from mecheval_jax.interventions.capture import capture
from mecheval_jax.models.language_model import LanguageModel
from tests.support import planted

DOCUMENTS, LENGTH = 2, 9
LAYERS = {
    "rwkv7": ("rwkv7", {"heads": 2}),  # it must be the first
    "attention": ("attention", {"heads": 2, "key_heads": 1}),
    "taylor_attention": ("taylor_attention", {"heads": 2, "feature_width": 4}),
    "gla": ("gla", {"heads": 2}),
    "retnet": ("retnet", {"heads": 2}),
    "delta_net": ("delta_net", {"heads": 2}),
    "gated_delta_net": ("gated_delta_net", {"heads": 2}),
    "gated_delta_net_2": ("gated_delta_net_2", {"heads": 2}),
    "gated_delta_product": ("gated_delta_product", {"heads": 2}),
    "kda": ("kda", {"heads": 2}),
    "comba": ("comba", {"heads": 2}),
    "mamba": ("mamba", {"d_state": 4}),
    "mamba2": ("mamba2", {"d_state": 4, "head_dim": 8, "groups": 2}),
    "mamba3": ("mamba3", {"d_state": 4, "head_dim": 8, "ranks": 1}),
    "mamba3_mimo": ("mamba3", {"d_state": 4, "head_dim": 8, "ranks": 2}),
    "hgrn2": ("hgrn2", {"heads": 2}),
    "gated_slot_attention": ("gated_slot_attention", {"heads": 2}),
    "mesa_net": ("mesa_net", {"heads": 2}),
    "mlstm": ("mlstm", {"heads": 2}),
    "log_linear_mamba2": ("log_linear_mamba2", {"d_state": 4, "head_dim": 16}),
    "path_attention": ("path_attention", {"heads": 2, "key_heads": 1}),
    "rwkv4": ("rwkv4", {}),
    "s4d": ("s4d", {"d_state": 4}),
    "h3": ("h3", {"d_state": 4, "head_dim": 4}),
    "hyena": ("hyena", {"order": 8, "skip": True}),
    "base_conv_implicit": ("base_conv", {"kernel": "implicit"}),
    "base_conv_activation": ("base_conv", {"kernel": 3, "activation": True}),
}
"""The mixer of each layer and its options."""

MIXERS = tuple(mixer for mixer, _ in LAYERS.values())


def options():
    """Options as the model takes them: for each a list with an entry a layer."""
    blank = {"heads": 1, "key_heads": 0, "kernel": 0, "skip": False}
    blank |= {"feature_width": 4, "d_state": 4, "head_dim": 8, "groups": 1, "order": 8}
    blank |= {"ranks": 1, "slots": 4}
    blank |= {"activation": False}
    kernels = {"hyena": 3} | {name: 4 for name in LAYERS if "delta" in name}
    kernels |= {"kda": 4, "comba": 4}

    def value(name, mixer, given):
        default = kernels.get(mixer, 0) if name == "kernel" else blank[name]
        return given.get(name, default)

    return {name: [value(name, *layer) for layer in LAYERS.values()] for name in blank}


@functools.cache
def model():
    """All mixers in one model, a layer each: one program to compile."""
    config, params, _ = planted.lively(
        ",".join(MIXERS),
        layers=len(MIXERS),
        feed_forward="none",
        mixer_options=options(),
    )
    tokens = jax.random.randint(jax.random.key(1), (DOCUMENTS, LENGTH), 0, 19)
    return LanguageModel(config), params, tokens


@functools.cache
def measured():
    """Matrices and activations of every layer."""
    module, params, tokens = model()

    @jax.jit
    def everything(params):
        activations = capture(module, params, tokens)
        layers = range(len(MIXERS))
        found = [effective_attention(module.config, params, activations, i) for i in layers]
        return found, [i.read() for i in found], activations

    return everything(params)
