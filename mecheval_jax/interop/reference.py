"""Conversion of weights between the reference study's models (arXiv 2505.15105) and ours."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import PyTree
from mecheval_jax.errors import UserError, expect
from mecheval_jax.interop.architecture_tables import CANON_ATTENTION, NEWER_MIXERS
from mecheval_jax.interop.delta_tables import DELTA_FAMILY
from mecheval_jax.interop.reference_tables import STUDY_MIXERS, Reference
from mecheval_jax.interop.state_dict import (
    FusedEntry,
    Table,
    Target,
    arrays_of,
    at_least_float32,
    below,
    dense,
    empty,
    fill,
    norm,
    pop_tied_head,
)
from mecheval_jax.mixers import Attention, architectures_of, mixer_of
from mecheval_jax.models.language_model import ModelConfig, parameter_shapes
from mecheval_jax.site_path import block_name

EMBEDDING = "backbone.embeddings.word_embeddings.weight"
HEAD = "lm_head.weight"
REFERENCES: dict[type[nn.Module], Reference] = STUDY_MIXERS | NEWER_MIXERS | DELTA_FAMILY
"""The form in which others store a mixer: the study, or the authors of a newer one."""


def from_reference_mixer(
    name: str, state_dict: Mapping[str, np.ndarray], mixer_config: Mapping[str, Any]
) -> PyTree:
    """Parameters of a single mixer, from the reference's state dict.

    Args:
        name: Name of the mixer, as in a config; ``based`` is its linear attention.
        state_dict: Entries by the reference's names; a leading ``mixer.`` is dropped.
        mixer_config: Fields of the mixer: ``width``, and those that differ from the defaults.

    Raises:
        UserError: If entries are missing, extra or misshaped, all of which the message names; or
            if they do not tell a field that is not given.
    """
    mixer, entries = mixer_of(name, mixer_config), arrays_of(state_dict)
    _require_said(mixer, mixer_config)
    table, problems = _take_mixer(mixer, entries, "", "")
    return fill(_shapes_of(mixer), table, entries, problems)


def to_reference_mixer(
    name: str, params: PyTree, mixer_config: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The reference's state dict of a mixer: the inverse of `from_reference_mixer`.

    Raises:
        UserError: If these are not the parameters of such a mixer, or the reference has none.
    """
    mixer = mixer_of(name, mixer_config)
    entries = _named(params, _table(mixer), _shapes_of(mixer))
    _give_mixer(mixer, entries, "")
    return entries


def _shapes_of(mixer: nn.Module) -> PyTree:
    """Shapes of a mixer's parameters."""
    sample = jax.ShapeDtypeStruct((1, 1, mixer.width), jnp.float32)
    return jax.eval_shape(mixer.init, jax.random.key(0), sample)["params"]


def _named(params: PyTree, table: Table, shapes: PyTree) -> dict[str, np.ndarray]:
    """Parameters by the reference's names; UserError if they are not all, of these shapes."""
    entries = empty(params, table)
    fill(shapes, table, entries)
    return entries


def from_reference(state_dict: Mapping[str, np.ndarray], config: ModelConfig) -> PyTree:
    """Parameters of a language model, from the reference's state dict.

    Raises:
        UserError: If entries are missing, extra or misshaped, all of which the message names; or
            if the reference has no model of this config.
    """
    table, entries = _model_table(config), arrays_of(state_dict)
    problems = pop_tied_head(entries, HEAD, EMBEDDING)
    for layer in range(config.layers):
        theirs, ours = _names_of(layer)
        _require_said(config.build_mixer(layer), config.mixer_options)
        mixer_table, found = _take_mixer(config.build_mixer(layer), entries, theirs, ours)
        table |= mixer_table
        problems += found
    return fill(parameter_shapes(config), table, entries, problems)


def to_reference(params: PyTree, config: ModelConfig) -> dict[str, np.ndarray]:
    """A state dict that the reference loads: the inverse of `from_reference`.

    Entries that the reference stores twice are written twice. Constants of an architecture, and
    entries that it never reads, get their initial values.

    Raises:
        UserError: If these are not the parameters of such a model, or the reference has none.
    """
    table = _model_table(config)
    names = []
    for layer, chosen in enumerate(architectures_of(config.mixer, config.layers)):
        theirs, ours = _names_of(layer)
        hybrid = chosen.mixer(0) is not chosen.mixer(1)  # which nest deeper in the reference
        names.append((f"{theirs}mixer." if hybrid else theirs, ours))
    mixers = [config.build_mixer(layer) for layer in range(config.layers)]
    for mixer, (theirs, ours) in zip(mixers, names, strict=True):
        table |= below(_table(mixer), theirs, ours)
    entries = _named(params, table, parameter_shapes(config))
    entries[HEAD] = entries[EMBEDDING]
    for mixer, (theirs, _) in zip(mixers, names, strict=True):
        _give_mixer(mixer, entries, theirs)
    return entries


def _names_of(layer: int) -> tuple[str, str]:
    """Prefixes of the names of a layer's mixer, theirs and ours."""
    return f"backbone.layers.{layer}.sequence_mixer.", f"{block_name(layer)}/mixer/"


def _model_table(config: ModelConfig) -> Table:
    """Table of all entries but the mixers'; UserError for a config that the reference lacks."""
    expect("the config", config, ModelConfig, "a ModelConfig")
    study = {
        "canon": 0,
        "mamba_feed_forward": "none",
        "activation": "gelu",
        "norm": "auto",
        "parallel": False,
        "tied": True,
    }
    study |= {"hidden": 0, "feed_forward_bias": True, "output_norm": "layer", "norm_epsilon": 1e-5}
    for field, value in study.items():
        given = getattr(config, field)
        if given != value:
            raise UserError(f"model.{field} is {given!r}: in the study's models it is {value!r}")
    for mixer in map(config.build_mixer, range(config.layers)):
        if hasattr(mixer, "shared_module"):
            raise UserError(
                f"model.mixer is {config.mixer!r}: the {mixer.SHARED} that its layers share have "
                "no place in the reference's models; from_reference_mixer and to_reference_mixer "
                "convert one layer"
            )
    table = norm("backbone.ln_f", "output_norm") | {
        EMBEDDING: Target("token_embedding/embedding"),
        "backbone.embeddings.position_embeddings.weight": Target("position_embedding/embedding"),
    }
    for layer in range(config.layers):
        theirs, ours = f"backbone.layers.{layer}.", f"{block_name(layer)}/"
        table |= dense(*(f"{theirs}state_mixer.fc{i}={ours}mlp/fc{i}" for i in (1, 2, 3)))
        table |= norm(f"{theirs}norm2", f"{ours}mlp_norm")
        first = "norm" if config.block(layer).norm == "rms" else "norm1"
        table |= norm(f"{theirs}{first}", f"{ours}mixer_norm")
    return table


def _table(mixer: nn.Module) -> Table:
    """Table of a mixer's entries; UserError for a mixer that the reference lacks."""
    reference = _reference(mixer)
    defaults = {field.name: field.default for field in dataclasses.fields(mixer)}
    for name, why in reference.nonzero.items():
        if getattr(mixer, name) == 0:
            raise UserError(f"{name} is 0: {why}")
    for name in reference.defaults:
        given = getattr(mixer, name)
        if given != defaults[name]:
            raise UserError(f"{name} is {given!r}: the reference has {defaults[name]!r} only")
    return reference.table


def _require_said(mixer: nn.Module, given: Mapping[str, Any]) -> None:
    """Raise UserError unless the fields that the entries do not tell are given."""
    for name, valid in _reference(mixer).unsaid.items():
        if name not in given:
            raise UserError(
                f"the entries of {type(mixer).__name__} do not tell its version: give the "
                f"option {name}, {' or '.join(map(repr, valid))} (docs/mixers.md)"
            )


def _reference(mixer: nn.Module) -> Reference:
    """The form in which others store a mixer; UserError if they have none."""
    if getattr(mixer, "canon", 0):  # others have it with plain attention alone
        if type(mixer) is not Attention:
            raise UserError(f"canon is {mixer.canon!r}: the reference has 0 only")
        return CANON_ATTENTION
    if type(mixer) not in REFERENCES:
        raise UserError(f"the reference has no mixer {type(mixer).__name__}")
    return REFERENCES[type(mixer)]


def _take_mixer(
    mixer: nn.Module, entries: dict[str, np.ndarray], theirs: str, ours: str
) -> tuple[Table, list[str]]:
    """Reduce the entries of a mixer to one per parameter.

    Args:
        mixer: Mixer of the entries.
        entries: State dict, in which fused entries are split, and duplicates, constants and
            entries that are never read are removed.
        theirs: Prefix of the entries.
        ours: Prefix of our parameters.

    Returns:
        Table of the mixer under full names, and all problems that were found.
    """
    table, problems = below(_table(mixer), theirs, ours), []
    reference = _reference(mixer)
    for name in list(entries):  # hybrids of the reference nest deeper
        if name.startswith(f"{theirs}mixer."):
            entries[theirs + name.removeprefix(f"{theirs}mixer.")] = entries.pop(name)
    for (one, other), why in reference.together.items():
        found = {name: theirs + name in entries for name in (one, other)}
        if found[one] != found[other]:
            here, lacking = sorted(found, key=found.__getitem__, reverse=True)
            problems.append(f"{theirs + here} without {theirs + lacking}: {why}")
    problems += _take_apart(mixer, entries, theirs)
    for name, original in reference.duplicates.items():
        copy = entries.pop(theirs + name, None)
        if copy is not None and not np.array_equal(copy, entries.get(theirs + original, copy)):
            problems.append(f"{theirs + name} differs from {theirs + original}: one parameter")
    for name, expected in reference.constants(mixer).items():
        if not _is_near(np.asarray(entries.pop(theirs + name, expected)), expected):
            problems.append(f"{theirs + name} is not the constant of this architecture")
    for name in reference.dead(mixer):
        entries.pop(theirs + name, None)
    return table, problems


def _fused(mixer: nn.Module, theirs: str) -> list[FusedEntry]:
    """The fused entries of a mixer, all of whose parts have a row for each channel of the model."""
    reference = _reference(mixer)
    groups = mixer.heads if reference.by_head else 1
    return [
        FusedEntry(
            f"{theirs}{fused}.{kind}", {f"{theirs}{n}.{kind}": mixer.width for n in parts}, groups
        )
        for fused, parts in reference.fused.items()
        for kind in ("weight", "bias")
    ]


def _take_apart(mixer: nn.Module, entries: dict[str, np.ndarray], theirs: str) -> list[str]:
    """Replace the fused entries of a mixer by their parts; problems, none if the rows fit."""
    by_head, problems = _reference(mixer).by_head, []
    for fused in _fused(mixer, theirs):
        whole, expected = entries.get(fused.name, ()), sum(fused.parts.values())
        rows = len(whole) if np.ndim(whole) else 0
        if by_head and (not rows or rows % (fused.groups * len(fused.parts))):
            continue  # `fill` reports the shape, as a part has the name of the whole
        if not by_head and fused.name in entries and rows != expected:
            problems.append(f"{fused.name} has {rows} rows, the model {expected}")
            del entries[fused.name]
        fused.take_apart(entries)
    return problems


def _is_near(given: np.ndarray, expected: np.ndarray) -> bool:
    """Whether an entry has the numbers of a constant, within the precision in which it is kept."""
    if given.shape != expected.shape or not jnp.issubdtype(given.dtype, jnp.floating):
        return False
    precision = max(1e-5, float(jnp.finfo(given.dtype).eps))
    return np.allclose(at_least_float32(given), expected, rtol=precision)


def _give_mixer(mixer: nn.Module, entries: dict[str, np.ndarray], theirs: str) -> None:
    """Invert `_take_mixer` in place."""
    reference = _reference(mixer)
    for fused in _fused(mixer, theirs):
        fused.put_together(entries)
    for name, original in reference.duplicates.items():
        entries[theirs + name] = entries[theirs + original]
    unlearned = reference.constants(mixer) | reference.dead(mixer)
    entries.update({theirs + name: array for name, array in unlearned.items()})
