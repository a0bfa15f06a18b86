"""Conversion between config.json of a Hugging Face checkpoint and `ModelConfig`.

A config.json that is to be written is first read again. If the result is another model, it is
refused, and the message names the differences.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from mecheval_jax import files
from mecheval_jax.errors import UserError, choose, one_line
from mecheval_jax.fields import between_commas
from mecheval_jax.interop.huggingface_family import TURNED, Family
from mecheval_jax.interop.huggingface_fields import REQUIRED
from mecheval_jax.interop.huggingface_tables import FAMILIES
from mecheval_jax.mixers import CONTEXT
from mecheval_jax.models.feed_forward import EXPANSION
from mecheval_jax.models.language_model import MOST_LAYERS, ModelConfig

OPTION = "mixer_options."
ROPE = "rope_parameters"
CONSTANTS = {"dtype": "float32", "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
"""Fields that every written config.json has; none of our tokens is special to transformers."""


def read_json(path: pathlib.Path, form: Any = dict) -> dict[str, Any]:
    """Read a JSON object of a form (`mecheval_jax.forms`) from a file.

    Raises:
        UserError: If there is no such file, or it does not hold such an object.
    """
    if not os.path.isfile(path):
        raise UserError(f"there is no file {path}")
    return files.read_json(path, form, object_hook=_number)


def _number(values: dict[str, Any]) -> Any:
    """Infinity in the form of transformers, {"__float__": "Infinity"}, as JSON has none."""
    return float(values["__float__"]) if set(values) == {"__float__"} else values


def read_config(given: Mapping[str, Any]) -> tuple[str, ModelConfig]:
    """The model that a config.json describes.

    Args:
        given: Fields of config.json.

    Returns:
        The ``model_type``, a key of `FAMILIES`, and the config of the model.

    Raises:
        UserError: If fields are missing or have values that no model of ours has; the message
            names all, with the valid values.
    """
    model_type = choose("model_type", given.get("model_type"), FAMILIES)
    family = FAMILIES[model_type]
    try:
        given, problems = family.expand(_bounded(_flat(given, family))), []
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise UserError(
            f"config.json describes a {model_type} that is not ours: the fields that say what its "
            f"layers are cannot be read ({one_line(error)})"
        ) from None
    values = {"mixer": next(iter(family.mixers)), **family.fixed}
    for name, field in family.fields.items():
        value = given.get(name, field.default)
        try:
            if name not in given and value == REQUIRED:
                problems.append(f"{name} is missing")
            elif name in given or field.ours:
                values |= dict.fromkeys(field.ours, field.values.read(value))
        except ValueError as valid:
            problems.append(f"{name} is {value!r}: valid is {valid}")
    problems += _other_length(given, family)
    config = None if problems else _model_config(values)
    if config:
        problems = [*_underived(given, family, config), *_odd_plane(family, config)]
    if config is None or problems:
        lines = "\n  ".join(problems)
        raise UserError(f"config.json describes a {model_type} that is not ours:\n  {lines}")
    return model_type, config


def write_config(config: ModelConfig) -> dict[str, Any]:
    """The fields of the config.json of a model: the inverse of `read_config`.

    ``dtype`` and the backends of mixers are not part of a checkpoint.

    Raises:
        UserError: If no family of `FAMILIES` has such a model; the message names the differences
            from the nearest family.
    """
    names = {mixer_name(config, layer) for layer in range(config.layers)}
    families = {n: family for n, family in FAMILIES.items() if names <= set(family.mixers)}
    if not families:
        valid = sorted({name for family in FAMILIES.values() for name in family.mixers})
        raise UserError(f"model.mixer {config.mixer!r}: checkpoints have {', '.join(valid)}")
    found = {}
    for model_type, family in families.items():
        fields = _write(model_type, family, config)
        found[model_type] = fields, *_differences(config, fields)
    # A family that cannot describe the model at all is further than any difference.
    nearest = min(found, key=lambda name: (not found[name][1], len(found[name][2])))
    fields, _, differences = found[nearest]
    if differences:
        lines = "\n  ".join(differences)
        raise UserError(f"no checkpoint has such a model; what differs from {nearest}:\n  {lines}")
    return fields


def _flat(given: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """Fields under their current names, with a dot in the names of rotary positions' fields."""
    current = {new: given[old] for old, new in family.older.items() if old in given}
    rope = given.get("rope_scaling") or given.get(ROPE) or {}  # transformers has the same order
    if not isinstance(rope, Mapping):
        raise TypeError(f"{ROPE} is {rope!r} and no object")
    if any(isinstance(value, Mapping) for value in rope.values()):
        rope = {"rope_type": rope}  # one per kind of layer, which no table accepts
    elif "type" in rope:
        rope = {"rope_type": rope["type"], **rope}
    return {**given, **current, **{f"{ROPE}.{name}": value for name, value in rope.items()}}


def _bounded(fields: dict[str, Any]) -> dict[str, Any]:
    """The same fields, if layers are few enough to be listed one by one."""
    depth = fields.get("num_hidden_layers")
    if isinstance(depth, int) and depth > MOST_LAYERS:
        raise ValueError(f"num_hidden_layers is {depth}: valid is at most {MOST_LAYERS}")
    return fields


def _model_config(values: Mapping[str, Any]) -> ModelConfig:
    """A config from its fields, options of the mixer being named ``mixer_options.NAME``."""
    fields = {name: value for name, value in values.items() if not name.startswith(OPTION)}
    names, options = between_commas(fields["mixer"]), {}
    for name, value in values.items():
        option, _, mixer = name.removeprefix(OPTION).partition("@")
        if not mixer and name.startswith(OPTION):
            options[option] = value
        elif mixer in names:
            by_layer = options.setdefault(option, [None] * len(names))
            options[option] = [
                value if theirs == mixer else old
                for theirs, old in zip(names, by_layer, strict=True)
            ]
    if fields.get("hidden") == 0:  # the default, made explicit
        fields["hidden"] = EXPANSION * fields["width"]
    return ModelConfig(**fields, mixer_options=options)


def _other_length(given: Mapping[str, Any], family: Family) -> list[str]:
    """Problem of a list of the kinds of layers that has not one entry for each."""
    layers = given.get("num_hidden_layers")
    lists = [given[name] for name, field in family.fields.items() if "mixer" in field.ours]
    return [
        f"the kinds of layers are {len(kinds)}: valid is num_hidden_layers, {layers}"
        for kinds in lists
        if isinstance(kinds, list) and len(kinds) != layers
    ]


def _underived(given: Mapping[str, Any], family: Family, config: ModelConfig) -> list[str]:
    """Problems: derived fields that disagree with the others."""
    found = []
    for name, derive in family.derived.items():
        value = given.get(name)
        if None not in (value, derive(config)) and value != derive(config):
            found.append(f"{name} is {value!r}: valid is {derive(config)}, with the other fields")
    return found


def _odd_plane(family: Family, config: ModelConfig) -> list[str]:
    """Problem of a number of rotated channels that is odd; they are rotated in pairs."""
    if TURNED not in family.fields:
        return []
    built = (config.build_mixer(layer) for layer in range(config.layers))
    shares = {mixer.rotary_share * mixer.head for mixer in built if hasattr(mixer, "rotary_share")}
    odd = [int(turned) for turned in shares if int(turned) % 2]
    return [f"{TURNED} gives {turned} channels of a head: valid are even numbers" for turned in odd]


def _write(model_type: str, family: Family, config: ModelConfig) -> dict[str, Any]:
    """Fields of config.json in a family, whether or not it has such a model."""
    ours, given = _by_mixer(config), {}
    for name, field in family.fields.items():
        if field.ours and (field.ours[0] in ours or "@" not in field.ours[0]):
            given[name] = field.values.write(ours.get(field.ours[0]))
    current = {old: given[new] for old, new in family.older.items() if new in given}
    rope = {n.partition(".")[2]: v for n, v in given.items() if n.startswith(f"{ROPE}.")}
    fields = {"model_type": model_type, "architectures": [family.architecture], **CONSTANTS}
    fields |= {name: value for name, value in given.items() if not name.startswith(f"{ROPE}.")}
    fields |= {ROPE: {"rope_type": "default", **rope}} if rope else {}
    derived = {name: derive(config) for name, derive in family.derived.items()}
    derived = {name: value for name, value in derived.items() if value is not None}
    return family.contract(fields | current | derived)


def _differences(config: ModelConfig, fields: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """Whether fields of config.json describe a model, and how it differs from another one."""
    try:
        _, read = read_config(fields)
    except UserError as error:
        return False, [line.strip() for line in str(error).splitlines()[1:]]
    found = {}
    for layer in range(config.layers):
        ours, theirs = _function(config, layer), _function(read, layer)
        for name, value in ours.items():
            if value != theirs.get(name, value):
                found.setdefault(name, f"model.{name} is {value!r}, there {theirs[name]!r}")
    return True, list(found.values())


def mixer_name(config: ModelConfig, layer: int) -> str:
    """Name of the mixer of a layer."""
    names = between_commas(config.mixer)
    return names[layer % len(names)]


def _by_mixer(config: ModelConfig) -> dict[str, Any]:
    """Fields of the first layer, the mixers of all, and options of each kind as NAME@MIXER."""
    found = {}
    for layer in reversed(range(config.layers)):
        function = _function(config, layer)
        options = {name: value for name, value in function.items() if name.startswith(OPTION)}
        found |= function | {f"{name}@{function['mixer']}": v for name, v in options.items()}
    return found | {"mixer": ",".join(mixer_name(config, i) for i in range(config.layers))}


def _function(config: ModelConfig, layer: int) -> dict[str, Any]:
    """All fields that the function of a layer depends on, with defaults filled in."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    block, mixer = config.block(layer), config.build_mixer(layer)
    values |= {"mixer": mixer_name(config, layer), "norm": block.norm}
    values |= {"feed_forward": block.feed_forward.kind}
    values["hidden"] = config.hidden or EXPANSION * config.width
    unread = {"mixer_options", "dtype", "mamba_feed_forward"}
    if not config.canon:
        unread |= {"canon_at", "canon_bias"}
    if block.feed_forward.kind == "none":
        unread |= {"hidden", "activation", "feed_forward_bias", "parallel"}
    options = {field.name: getattr(mixer, field.name) for field in dataclasses.fields(mixer)}
    if "key_heads" in options:
        options["key_heads"] = options["key_heads"] or options["heads"]
    outside = {*CONTEXT, "parent", "name", "backend", "scan_backend"}
    return {name: value for name, value in values.items() if name not in unread} | {
        OPTION + name: value for name, value in options.items() if name not in outside
    }
