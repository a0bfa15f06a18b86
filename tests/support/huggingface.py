"""Golden checkpoints of Hugging Face: loaded, changed, refused."""

import functools
import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interop import (
    huggingface,
    load_safetensors,
    save_safetensors,
)
from mecheval_jax.models.language_model import LanguageModel
from tests.support.golden_files import relative_error
from tests.support.make_huggingface_golden import FOLDER


@functools.cache
def loaded(name):
    return huggingface.load(FOLDER / name)


def weights(name):
    return load_safetensors(FOLDER / name / "model.safetensors")


def folder_of(path, name, fields=None, entries=None):
    """A copy of a golden folder, with other fields of config.json or other weights."""
    folder = pathlib.Path(path) / name
    shutil.copytree(FOLDER / name, folder)
    config = json.loads((folder / "config.json").read_text()) | (fields or {})
    (folder / "config.json").write_text(json.dumps(config))
    if entries is not None:
        save_safetensors(folder / "model.safetensors", entries, overwrite=True)
    return folder


def assert_gives_logits(config, params, tokens, expected):
    """In float32 and, wide enough for an error in the eighth digit, in float64."""
    apply = jax.jit(LanguageModel(config).apply)
    tokens = jnp.asarray(tokens, jnp.int32)
    assert relative_error(apply({"params": params}, tokens), expected) < 1e-5
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        assert relative_error(apply({"params": double}, tokens), expected) < 1e-10


def refusal(function, *arguments, **options):
    with pytest.raises(UserError) as caught:
        function(*arguments, **options)
    return str(caught.value)
