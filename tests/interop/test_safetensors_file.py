"""State dicts in files, and a package that is not there."""

import errno
import pathlib
import sys

import numpy as np
import pytest

from mecheval_jax.interop import (
    from_reference,
    huggingface,
    load_safetensors,
    save_safetensors,
    to_reference,
)
from mecheval_jax.models.language_model import ModelConfig
from tests.support import golden_files
from tests.support.huggingface import refusal
from tests.support.make_huggingface_golden import FOLDER

pytest.importorskip("safetensors")


# Catches a state dict that a file changes: order of axes, scalars, names.
def test_state_dicts_in_files(tmp_path):
    state, _ = golden_files.load("lm__mamba")
    config = ModelConfig("mamba", 2, 32, 44, 64)
    entries = to_reference(from_reference(state, config), config)
    entries |= {"scalar": np.float32(3).reshape(()), "columns": np.arange(6.0).reshape(2, 3).T}
    path = tmp_path / "reference.safetensors"
    save_safetensors(path, entries)
    read = load_safetensors(path)
    assert sorted(read) == sorted(entries)
    for name, array in entries.items():
        assert read[name].shape == array.shape
        np.testing.assert_array_equal(read[name], array, err_msg=name)
    assert "exists already" in refusal(save_safetensors, path, entries)
    assert "is no folder" in refusal(save_safetensors, tmp_path / "none" / "x", entries)
    assert "there is no file" in refusal(load_safetensors, tmp_path / "none")


# Catches tracebacks: of what a file of this kind cannot hold, and of a path that is a folder.
def test_what_cannot_be_written(tmp_path):
    path = tmp_path / "reference.safetensors"
    for entries, told in (
        ({"a": np.array([None])}, "cannot be written as safetensors"),
        ({"a": np.array([1j])}, "cannot be written as safetensors"),
    ):
        assert told in refusal(save_safetensors, path, entries)
        assert not list(tmp_path.iterdir())
    told = refusal(save_safetensors, tmp_path, {"a": np.ones(2)}, overwrite=True)
    assert told == f"{tmp_path} cannot be written: it is a folder"
    assert "there is no file" in refusal(load_safetensors, tmp_path / ("a" * 300))


# Catches a file that is there, and is said not to be.
def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "reference.safetensors"
    save_safetensors(path, {"scalar": np.ones(())})

    def refuse(*asked, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    assert refusal(load_safetensors, path) == f"{path} cannot be read: Permission denied"


# Catches a traceback where a package is missing that few need.
def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert "pip install safetensors" in refusal(huggingface.load, FOLDER / "mamba")
