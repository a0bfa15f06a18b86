"""State dicts in safetensors files, which hold arrays by name and no executable code.

The package `safetensors` is optional and imported when it is needed.
"""

import os
import pathlib
import types
from collections.abc import Mapping

import numpy as np

from mecheval_jax.errors import UserError
from mecheval_jax.files import check_file, draft_of, open_file
from mecheval_jax.interop.state_dict import arrays_of, at_least_float32

METADATA = {"format": "pt"}
"""Declaration of PyTorch's layouts, without which transformers refuses a file."""


def _package() -> types.ModuleType:
    """The package safetensors; UserError if it is not installed."""
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise UserError(
            "safetensors files need the package safetensors: pip install safetensors"
        ) from error
    return safetensors


def check_written(*paths: pathlib.Path, overwrite: bool) -> None:
    """Raise UserError if a file cannot be written, or exists already and may not be replaced."""
    there = [str(path) for path in paths if os.path.isfile(path)]
    if there and not overwrite:
        raise UserError(f"{', '.join(there)} exists already: overwrite=True replaces it")
    for path in paths:
        check_file(path)


def save_safetensors(
    path: str | os.PathLike, entries: Mapping[str, np.ndarray], *, overwrite: bool = False
) -> None:
    """Write a state dict atomically.

    Args:
        path: Path of the file, whose folder must exist.
        entries: Arrays by name, such as `to_reference` returns.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UserError: If the file exists, its folder does not, an entry is none of a state dict, or
            safetensors is not installed.
    """
    path = pathlib.Path(path)
    check_written(path, overwrite=overwrite)
    package = _package()
    # safetensors writes the memory of an array, which must be contiguous and in row order.
    arrays = {name: np.asarray(each, order="C") for name, each in arrays_of(entries).items()}
    with draft_of(path) as draft:
        draft.touch()
        mode = draft.stat().st_mode  # safetensors makes files that only their owner can read
        try:
            package.numpy.save_file(arrays, draft, metadata=METADATA)
        except package.SafetensorError as error:
            raise UserError(f"{path} cannot be written as safetensors: {error}") from error
        draft.chmod(mode)


def load_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read a state dict; float16 and bfloat16 become float32.

    Raises:
        UserError: If there is no such file, it may not be read or is not a safetensors file, it
            holds types that NumPy lacks, or safetensors is not installed.
    """
    package, path = _package(), pathlib.Path(path)
    if not os.path.isfile(path):
        raise UserError(f"there is no file {path}")
    open_file(path).close()  # of one that may not be read the package says that it is not there
    try:
        with package.safe_open(path, framework="numpy") as file:
            return {name: at_least_float32(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (package.SafetensorError, AttributeError, TypeError) as error:
        raise UserError(f"{path} cannot be read as safetensors: {error}") from error
