"""Files: written whole or not at all, and read with one clear line for what is damaged.

A file is written under another name (`DRAFT`) and renamed, so that a reader finds the old one or
the new one, and a kill leaves no half. Of several processes that write the same file the last one
counts. Two kinds of files are not written here: records that grow by a row at a time
(`store.metrics`), and checkpoints, which are orbax's.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from mecheval_jax.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

DRAFT = ".part"
"""Ending of a file that is being written; a kill may leave one behind."""


def is_draft(path: pathlib.Path) -> bool:
    """Whether a file is one that was not written to its end."""
    return path.name.endswith(DRAFT)


def make_workdir(path: pathlib.Path) -> None:
    """Make a folder of a program's results, unless it is there.

    Raises:
        UserError: If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"workdir {path} cannot be made: {error.strerror}") from None


@contextlib.contextmanager
def draft_of(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path to write to, which takes the place of another when the block ends without error."""
    draft = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}{DRAFT}")
    yield draft
    draft.replace(path)


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with draft_of(path) as draft:
        draft.write_bytes(content)


def write_text(path: pathlib.Path, text: str) -> None:
    """Write a text whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: pathlib.Path, values: Any, *, sort_keys: bool = False) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(values, indent=2, sort_keys=sort_keys) + "\n")


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def write_table(path: pathlib.Path, table: "pd.DataFrame") -> None:
    """Write a table as CSV, whole or not at all.

    A text that a spreadsheet would run, which may be a token of a document, gets an apostrophe
    before it, as spreadsheets have it; `read_table` takes it away.
    """
    texts = table.select_dtypes(["object", "string"])
    guarded = {name: texts[name].map(_guarded) for name in texts}
    write_text(path, table.assign(**guarded).to_csv(index=False))


def _guarded(value: Any) -> Any:
    if not isinstance(value, str) or not value.lstrip("'").startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def _unguarded(value: Any) -> Any:
    is_guarded = isinstance(value, str) and value[:1] == "'"
    return value[1:] if is_guarded and value.lstrip("'").startswith(FORMULA) else value


def write_arrays(path: pathlib.Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by their names as a compressed archive of NumPy, whole or not at all."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_bytes(path, content.getvalue())


def read_json(path: pathlib.Path, absent: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: File that is read.
        absent: Object where there is no file; None if that is an error.

    Raises:
        UserError: If the file is damaged.
        FileNotFoundError: If there is no file, and nothing for its absence.
    """
    if absent is not None and not path.exists():
        return absent
    try:
        values = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object")
    return values


def read_table(path: pathlib.Path, remedy: str = "", **options: Any) -> "pd.DataFrame":
    """Read a CSV file.

    Args:
        path: File that is read.
        remedy: What the user of a damaged file is told to do.
        **options: Options of `pandas.read_csv`.

    Raises:
        UserError: If the file is damaged.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, **options)
    except ValueError as error:  # of one of pandas' parsers
        raise UserError(f"{path} is damaged: {error}" + f"; {remedy}" * bool(remedy)) from None
    texts = table.select_dtypes(["object", "string"])
    return table.assign(**{name: texts[name].map(_unguarded) for name in texts})


def open_file(path: pathlib.Path) -> BinaryIO:
    """A file to read bytes from.

    Raises:
        UserError: If it cannot be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def sha256_of(paths: Iterable[pathlib.Path]) -> str:
    """Hash of the bytes of files, one after another.

    Raises:
        UserError: If one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        with open_file(path) as file:
            while block := file.read(1 << 16):
                digest.update(block)
    return digest.hexdigest()
