"""Weights of the reference study's models, as parameters of ours.

A state dict is a flat mapping from the reference's names to arrays. A table for each
mixer says where an entry goes and how it is laid out there; the arithmetic needs no
more than a transposition (their dense weights are [out, in], ours [in, out]).
"""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from mecheval_jax.array_types import PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.mixers import Attention, BaseConv, Based, Hyena, Mamba
from mecheval_jax.models.language_model import ModelConfig, initialize


class Target(NamedTuple):
    """Where an entry goes: a path below the module, and the layout there."""

    path: str
    layout: str = "as_is"


LAYOUTS = {
    "as_is": lambda array: array,
    "transpose": lambda array: array.T,  # dense: [out, in] -> [in, out]
    "taps": lambda array: array[:, 0].T,  # depthwise: [width, 1, kernel] -> [kernel, width]
    "first": lambda array: array[0],  # a leading axis of size 1
}


def _dense(*pairs: str) -> dict[str, Target]:
    """Entries of dense layers, given as "theirs=ours" or one name for both."""
    entries = {}
    for pair in pairs:
        theirs, _, ours = pair.partition("=")
        entries[f"{theirs}.weight"] = Target(f"{ours or theirs}/kernel", "transpose")
        entries[f"{theirs}.bias"] = Target(f"{ours or theirs}/bias")
    return entries


def _short_convolution(theirs: str, ours: str) -> dict[str, Target]:
    return {
        f"{theirs}.weight": Target(f"{ours}/weight", "taps"),
        f"{theirs}.bias": Target(f"{ours}/bias"),
    }


def _norm(theirs: str, ours: str) -> dict[str, Target]:
    return {f"{theirs}.weight": Target(f"{ours}/scale"), f"{theirs}.bias": Target(f"{ours}/bias")}


MIXERS: dict[type[nn.Module], dict[str, Target]] = {
    Attention: _dense("out_proj", *(f"Wqkv[{i}]={name}_proj" for i, name in enumerate("qkv"))),
    BaseConv: _dense("projection", "conv.mlp.0=filter/fc1", "conv.mlp.2=filter/fc2")
    | _short_convolution("conv.conv", "conv")
    | {"conv.pos_emb.z": Target("filter/features", "first")},
    Based: _dense("proj_q", "proj_k", "proj_v", "proj_o"),
    Hyena: _dense("in_proj", "out_proj")
    | _dense(*(f"filter_fn.implicit_filter.{2 * i}=filter/fc{i + 1}" for i in range(4)))
    | _short_convolution("short_filter", "short_conv")
    | {
        "filter_fn.bias": Target("D"),
        "filter_fn.pos_emb.z": Target("filter/features", "first"),
        "filter_fn.implicit_filter.1.freq": Target("filter/frequency", "first"),
    },
    Mamba: _dense("in_proj", "x_proj", "dt_proj", "out_proj")
    | _short_convolution("conv1d", "conv")
    | {"A_log": Target("A_log"), "D": Target("D")},
}

FUSED = {Attention: {"Wqkv": 3}}
"""Dense layers that the reference stacks along the outputs; ``[i]`` names their parts."""

DUPLICATES = {
    Hyena: {
        f"filter_fn.implicit_filter.{i}.freq": "filter_fn.implicit_filter.1.freq" for i in (3, 5)
    }
}
"""Entries under which the reference stores one parameter again."""

DEAD = {
    Hyena: {"filter_fn.pos_emb.t", "filter_fn.modulation.deltas"},
    Mamba: {"conv1d.weight", "conv1d.bias"},  # where d_conv is 0
}
"""Entries that are constants of the architecture, or never read."""


def from_reference_mixer(
    mixer: nn.Module, state_dict: Mapping[str, np.ndarray], max_length: int = 16
) -> PyTree:
    """Parameters of a single mixer.

    Args:
        mixer: the module whose parameters are wanted.
        state_dict: entries by the reference's names; a leading ``mixer.`` is dropped.
        max_length: a length that the mixer accepts, to find its parameters' shapes.

    Raises:
        UserError: missing, extra or misshaped entries, all of them named.
    """
    sample = jax.ShapeDtypeStruct((1, max_length, mixer.width), jnp.float32)
    shapes = jax.eval_shape(mixer.init, jax.random.key(0), sample)["params"]
    problems: list[str] = []
    table, entries = _mixer_entries(mixer, state_dict, "", "", problems)
    return _fill(shapes, table, entries, problems)


def from_reference(state_dict: Mapping[str, np.ndarray], config: ModelConfig) -> PyTree:
    """Parameters of a language model of the study.

    Raises:
        UserError: missing, extra or misshaped entries, all of them named.
    """
    shapes = jax.eval_shape(lambda key: initialize(config, key), jax.random.key(0))
    table = _norm("backbone.ln_f", "output_norm") | {
        "backbone.embeddings.word_embeddings.weight": Target("token_embedding/embedding"),
        "backbone.embeddings.position_embeddings.weight": Target("position_embedding/embedding"),
    }
    problems: list[str] = []
    entries = dict(state_dict)
    head = entries.pop("lm_head.weight", None)
    embedding = entries.get("backbone.embeddings.word_embeddings.weight")
    if head is not None and embedding is not None and not np.array_equal(head, embedding):
        problems.append("lm_head.weight differs from the embedding, to which it is tied")
    for layer in range(config.layers):
        theirs, ours = f"backbone.layers.{layer}.", f"block_{layer}/"
        mlp = _dense(*(f"{theirs}state_mixer.fc{i}={ours}mlp/fc{i}" for i in (1, 2, 3)))
        table |= mlp | _norm(f"{theirs}norm2", f"{ours}mlp_norm")
        table |= _norm(f"{theirs}{'norm' if config.mamba_block else 'norm1'}", f"{ours}mixer_norm")
        prefix = f"{theirs}sequence_mixer."
        mixer_table, entries = _mixer_entries(
            config.build_mixer(layer), entries, prefix, f"{ours}mixer/", problems
        )
        table |= mixer_table
    return _fill(shapes, table, entries, problems)


def _mixer_entries(mixer, state_dict, theirs, ours, problems):
    """The mixer's table under full names, and the entries without its dead and doubled ones."""
    entries = dict(state_dict)
    for name in list(entries):  # the reference's hybrids wrap their mixer once more
        if name.startswith(f"{theirs}mixer."):
            entries[theirs + name.removeprefix(f"{theirs}mixer.")] = entries.pop(name)
    for fused, parts in FUSED.get(type(mixer), {}).items():
        for kind in ("weight", "bias"):
            whole = entries.pop(f"{theirs}{fused}.{kind}", None)
            if whole is not None and len(whole) % parts:
                problems.append(f"{theirs}{fused}.{kind} has {len(whole)} rows, not {parts} parts")
            elif whole is not None:
                for i, part in enumerate(np.split(np.asarray(whole), parts)):
                    entries[f"{theirs}{fused}[{i}].{kind}"] = part
    for name, original in DUPLICATES.get(type(mixer), {}).items():
        copy = entries.pop(theirs + name, None)
        if copy is not None and not np.array_equal(copy, entries.get(theirs + original, copy)):
            problems.append(f"{theirs + name} differs from {theirs + original}: one parameter")
    unused = DEAD.get(type(mixer), set()) if getattr(mixer, "d_conv", 0) == 0 else set()
    entries = {n: a for n, a in entries.items() if n not in {theirs + name for name in unused}}
    table = {
        theirs + name: Target(ours + target.path, target.layout)
        for name, target in MIXERS[type(mixer)].items()
    }
    return table, entries


def _fill(shapes, table, entries, problems):
    """The parameter tree `shapes` filled from `entries`; raise UserError with all problems."""
    wanted = flatten_dict(shapes, sep="/")
    names = {target.path: name for name, target in table.items() if target.path in wanted}
    filled = {}
    for path, shape in wanted.items():
        name = names.get(path)
        if name not in entries:
            problems.append(f"{name or path} is missing")
            continue
        array = LAYOUTS[table[name].layout](np.asarray(entries[name]))
        if array.shape != shape.shape:
            problems.append(f"{name} gives {path} {array.shape}, the model has {shape.shape}")
        filled[path] = jnp.asarray(array)
    extra = sorted(set(entries) - set(names.values()))
    problems.extend(f"{name} has no place in this model" for name in extra)
    if problems:
        raise UserError("state dict does not fit:\n  " + "\n  ".join(problems))
    return unflatten_dict(filled, sep="/")
