"""Import and export of checkpoints of Hugging Face's transformers.

A checkpoint is a folder with config.json and model.safetensors, or several files of weights with
model.safetensors.index.json. The families that are supported are `huggingface_tables.FAMILIES`.
Pickled weights (pytorch_model.bin) are never opened, since reading them executes code that they
contain.
"""

import os
import pathlib
import re

import numpy as np

from mecheval_jax.array_types import PyTree
from mecheval_jax.errors import UserError, expect
from mecheval_jax.files import damaged, make_folder, write_json
from mecheval_jax.interop.huggingface_config import mixer_name, read_config, read_json, write_config
from mecheval_jax.interop.huggingface_family import Family
from mecheval_jax.interop.huggingface_tables import FAMILIES
from mecheval_jax.interop.safetensors_file import (
    check_written,
    load_safetensors,
    save_safetensors,
)
from mecheval_jax.interop.state_dict import (
    FusedEntry,
    Table,
    Target,
    below,
    empty,
    fill,
    pop_tied_head,
)
from mecheval_jax.models.language_model import ModelConfig, parameter_shapes
from mecheval_jax.site_path import block_name

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
DEAD = re.compile(r"(^|\.)(attn|attention)\.(bias|masked_bias)$|(^|\.)rotary_emb\.inv_freq$")
"""Pattern of constants that older versions stored: causal masks and rotary frequencies."""


def load(folder: str | os.PathLike) -> tuple[ModelConfig, PyTree]:
    """Load the model in a folder.

    Args:
        folder: Folder of the checkpoint.

    Returns:
        Config of the model, and its float32 parameters.

    Raises:
        UserError: If files are missing or cannot be read; config.json has values that no model
            of ours has; or weights are missing, extra, misshaped or quantized. The message
            names all problems of a file.
    """
    folder = pathlib.Path(folder)
    model_type, config = read_config(read_json(folder / CONFIG))
    family, entries = FAMILIES[model_type], _weights(folder)
    entries, problems, shapes = _live(family, entries), [], parameter_shapes(config)
    if config.tied:
        problems += pop_tied_head(entries, family.head, _embedding(family))
    for fused in _fused(family, config, shapes):
        fused.take_apart(entries)
    return config, fill(shapes, _table(family, config), entries, problems)


def save(
    folder: str | os.PathLike, config: ModelConfig, params: PyTree, *, overwrite: bool = False
) -> None:
    """Write a model to a folder, for `load` and for transformers.

    Args:
        folder: Folder of the checkpoint, which is created if it does not exist.
        config: Config of the model.
        params: Parameters of the model.
        overwrite: Whether existing files may be replaced.

    Raises:
        UserError: If no family has such a model, the message naming the differences; the
            parameters do not fit the config; or files exist, or cannot be written.
    """
    expect("the config", config, ModelConfig, "a ModelConfig")
    folder, fields = pathlib.Path(folder), write_config(config)
    family = FAMILIES[fields["model_type"]]
    table, shapes = _table(family, config), parameter_shapes(config)
    entries = empty(params, table)
    fill(shapes, table, entries)  # checks that no parameter is missing
    for fused in _fused(family, config, shapes):
        fused.put_together(entries)
    make_folder(folder)
    check_written(folder / CONFIG, folder / WEIGHTS, overwrite=overwrite)
    save_safetensors(folder / WEIGHTS, entries, overwrite=overwrite)
    write_json(folder / CONFIG, fields, sort_keys=True)


def _weights(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """All entries of the files of weights in a folder.

    Of several files each gives the entries that the index names for it, whatever else it holds of
    another one; what the index does not name at all is kept, for `fill` to refuse.
    """
    if os.path.isfile(folder / WEIGHTS):
        return load_safetensors(folder / WEIGHTS)
    if not os.path.isfile(folder / INDEX):
        pickled = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
        why = f"; {pickled[0]} is pickled, and reading it would run what is in it" * bool(pickled)
        raise UserError(f"{folder} has neither {WEIGHTS} nor {INDEX}{why}")
    index = read_json(folder / INDEX, {"weight_map": {...: str}})
    files = sorted(set(index["weight_map"].values()))
    outside = [file for file in files if pathlib.PurePath(file).name != file]
    missing = [file for file in files if not os.path.isfile(folder / file)]
    if outside or missing or not files:
        raise UserError(f"{folder / INDEX} names no files of the folder: {outside or missing}")
    owner, entries = dict(index["weight_map"]), {}
    for file in files:
        found = load_safetensors(folder / file)
        entries |= {n: array for n, array in found.items() if owner.setdefault(n, file) == file}
    if lacking := sorted(set(owner) - set(entries)):
        raise damaged(folder / INDEX, f"{owner[lacking[0]]} holds no {lacking[0]}")
    return entries


def _live(family: Family, entries: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Entries that the computation reads, named as in models with an output head."""
    entries = {name: array for name, array in entries.items() if not DEAD.search(name)}
    if not any(name.startswith(family.prefix) for name in entries):  # saved without a head
        outside = {family.head, *family.renamed}
        entries = {n if n in outside else family.prefix + n: array for n, array in entries.items()}
    for theirs, ours in family.renamed.items():
        entries = {name.replace(theirs, ours): array for name, array in entries.items()}
    return entries


def _embedding(family: Family) -> str:
    """Name of the embedding's weight."""
    (name,) = (n for n, target in family.outer.items() if target.path.startswith("token_embedding"))
    return family.prefix + name


def _layer(family: Family, layer: int) -> str:
    """Prefix of the names of a layer's weights."""
    return f"{family.prefix}{family.layers}.{layer}."


def _table(family: Family, config: ModelConfig) -> Table:
    """Targets of all entries of a model."""
    table = below(family.outer, family.prefix, "")
    for layer in range(config.layers):
        inner = family.inner | family.mixers[mixer_name(config, layer)].whole()
        table |= below(inner, _layer(family, layer), f"{block_name(layer)}/")
    if not config.tied:
        table[family.head] = Target("output_head/kernel", "transpose")
    return table


def _fused(family: Family, config: ModelConfig, shapes: PyTree) -> list[FusedEntry]:
    """The fused entries of a model."""
    found = []
    for layer in range(config.layers):
        mixer, ours = config.build_mixer(layer), shapes[block_name(layer)]["mixer"]
        for fused in family.mixers[mixer_name(config, layer)].fused:
            full = fused._replace(name=_layer(family, layer) + fused.name)
            leaf = "weight" if fused.taps else "kernel"
            sizes = [ours[module][leaf].shape[-1] for module in fused.parts.values()]
            groups = mixer.heads if fused.by_head else 1
            for kind in ("weight", "bias"):
                parts = dict(zip(full.entries(kind), sizes, strict=True))
                found.append(FusedEntry(f"{full.name}.{kind}", parts, groups, fused.transposed))
    return found
