"""Files: written whole or not at all, and read with one clear line for what is damaged.

A file is written under another name (`DRAFT`) and renamed, so that a reader finds the old one or
the new one, and a kill leaves no half. Of several processes that write the same file the last one
counts. Two kinds of files are not written here: records that grow by a row at a time
(`store.metrics`), and checkpoints, which are orbax's.
"""

import contextlib
import io
import json
import os
import pathlib
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from mecheval_jax.errors import UserError, one_line
from mecheval_jax.forms import mismatch

if TYPE_CHECKING:
    import pandas as pd

DRAFT = ".part"
"""Ending of a file that is being written; a kill may leave one behind."""


def gone(path: pathlib.Path) -> str:
    """What to say where something was there that is used, and is there no more."""
    return f"{path} is gone: the workdir was removed or moved while it was in use"


def is_draft(path: pathlib.Path) -> bool:
    """Whether a file is one that was not written to its end."""
    return path.name.endswith(DRAFT)


def make_folder(path: pathlib.Path, what: str = "folder") -> None:
    """Make a folder, unless it is there; `what` names it in messages.

    Raises:
        UserError: If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        why = "what stands there is no folder" if in_the_way else error.strerror
        raise UserError(f"{what} {path} cannot be made: {why}") from None


def check_folder(path: pathlib.Path, what: str = "folder") -> None:
    """Refuse a folder that could not be made where a file stands, before there is anything for it.

    Raises:
        UserError: If the path, or a part of it, is a file; `what` names it in the message.
    """
    there = next(part for part in (path, *path.absolute().parents) if os.path.lexists(part))
    if not there.is_dir():
        raise UserError(f"{what} {path} cannot be made: {there} is no folder")


def check_file(path: pathlib.Path) -> None:
    """Refuse a file that could not be written, before there is anything to write.

    Raises:
        UserError: If its folder is not there, or something else stands in its place.
    """
    if not os.path.isdir(path.parent):
        raise UserError(f"{path} cannot be written: {path.parent} is no folder")
    check_place(path)


def check_place(path: pathlib.Path) -> None:
    """Refuse a file in whose place a folder stands, or a pipe, which would be waited for.

    Raises:
        UserError: If one does.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        what = "a folder" if os.path.isdir(path) else "no file"
        raise UserError(f"{path} cannot be written: it is {what}")


def make_workdir(path: pathlib.Path) -> None:
    """Make a folder of a program's results, unless it is there; as `make_folder`."""
    make_folder(path, "workdir")


@contextlib.contextmanager
def draft_of(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path to write to, which takes the place of another when the block ends without error.

    Drafts of the same file that processes of this machine left behind, which were killed while they
    wrote it, are removed.

    Raises:
        UserError: If the other is no file.
    """
    check_place(path)
    writers = f"{path.name}.{socket.gethostname()}."
    with contextlib.suppress(OSError):  # who cannot write here is told so by the write itself
        for left in os.listdir(path.parent):
            process = left.removeprefix(writers).removesuffix(DRAFT)
            if left == f"{writers}{process}{DRAFT}" and _has_ended(process):
                path.with_name(left).unlink(missing_ok=True)
    draft = path.with_name(f"{writers}{os.getpid()}{DRAFT}")
    try:
        yield draft
        draft.replace(path)
    except BaseException as error:  # half a file would take the place that is lacking
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        # The system names no file of a write that has no room, and a program may have two folders.
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def _has_ended(process: str) -> bool:
    """Whether a process of this machine has ended, by its number in the name of a file."""
    try:
        return not is_alive(int(process))
    except (ValueError, OverflowError, OSError):  # no number of one
        return False


def is_alive(process: int) -> bool:
    """Whether a process of this machine exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it exists, and belongs to another user
        return True
    return True


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with draft_of(path) as draft:
        draft.write_bytes(content)


def write_text(path: pathlib.Path, text: str) -> None:
    """Write a text whole or not at all.

    What UTF-8 has no form for, as of a folder's name that is in another code, is spelled out.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: pathlib.Path, values: Any, *, sort_keys: bool = False) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(values, indent=2, sort_keys=sort_keys) + "\n")


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def write_table(path: pathlib.Path, table: "pd.DataFrame", numbers: str | None = None) -> None:
    """Write a table as CSV, whole or not at all; `numbers` is the format of those with fractions.

    A text that a spreadsheet would run, which may be a token of a document, gets an apostrophe
    before it, as spreadsheets have it; `read_table` takes it away. So do heads.
    """
    texts = table.select_dtypes(["object", "string"])
    guarded = {name: texts[name].map(_guarded) for name in texts}
    heads = table.assign(**guarded).rename(columns=_guarded)
    write_text(path, heads.to_csv(index=False, float_format=numbers))


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


def damaged(source: str | os.PathLike, why: object, remedy: str = "") -> UserError:
    """The error of what cannot be what was written.

    Args:
        source: The file or folder.
        why: What is wrong with it.
        remedy: What the user is told to do about it; "" where nothing is known that helps.
    """
    return UserError(f"{source} is damaged: {why}" + f"; {remedy}" * bool(remedy))


def read_arrays(
    path: pathlib.Path, remedy: str, names: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """Arrays of an archive that `write_arrays` wrote.

    Args:
        path: File that is read.
        remedy: What the user of a damaged file is told to do.
        names: Names of the arrays that it must have; all that are there if None.

    Raises:
        UserError: If the file is damaged, or cannot be read.
    """
    with open_file(path) as content:
        try:
            with np.load(content, allow_pickle=False) as file:
                return {name: file[name] for name in (file.files if names is None else names)}
        except Exception as error:  # whatever a damaged archive makes numpy raise
            # Of a file that is no archive numpy says how to load it all the same, as a pickle.
            why = "it is no archive of arrays" if "pickle" in str(error) else error
            raise damaged(path, why, remedy) from None


def read_text(path: pathlib.Path, remedy: str = "") -> str:
    """Read a text in UTF-8, whatever the terminal's own encoding.

    Args:
        path: File that is read.
        remedy: What the user of a damaged file is told to do.

    Raises:
        UserError: If it cannot be read, or is no such text.
    """
    try:
        with open_file(path) as file:
            return file.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise damaged(path, error, remedy) from None


def parse_json(text: str, source: str, remedy: str = "", **options: Any) -> Any:
    """The value of a JSON text.

    Args:
        text: The text.
        source: Where it comes from, for the message.
        remedy: What the user of a damaged one is told to do.
        **options: Options of `json.loads`.

    Raises:
        UserError: If it is none, nested too deeply, or has numbers of too many digits.
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise damaged(source, "it is nested too deeply", remedy) from None
    except (ValueError, TypeError, OverflowError) as error:  # among them numbers of many digits
        raise damaged(source, error, remedy) from None


def read_json(
    path: pathlib.Path,
    form: Any = dict,
    absent: dict[str, Any] | None = None,
    *,
    remedy: str = "",
    **options: Any,
) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: File that is read.
        form: Form that the object must have; see `mecheval_jax.forms`.
        absent: Object where there is no file; None if that is an error.
        remedy: What the user of a damaged file is told to do.
        **options: Options of `json.loads`.

    Raises:
        UserError: If the file is damaged or cannot be read, or is not there and that is an error.
    """
    if absent is not None and not os.path.lexists(path):
        return absent
    values = parse_json(read_text(path, remedy), str(path), remedy, **options)
    if wrong := mismatch(values, dict) or mismatch(values, form):
        raise damaged(path, wrong, remedy)
    return values


def read_cache(path: pathlib.Path, form: Any = dict) -> dict[str, Any]:
    """What a JSON file of the user's cache holds; nothing where there is none, or a damaged one."""
    try:
        return read_json(path, form, absent={})
    except (OSError, UserError):
        return {}


def add_to_cache(path: pathlib.Path, values: Mapping[str, Any]) -> None:
    """Add fields to a JSON file of the user's cache; without a home they are not kept."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**read_cache(path), **values})


def read_table(
    path: pathlib.Path, columns: Mapping[str, Any] | None = None, remedy: str = "", **options: Any
) -> "pd.DataFrame":
    """Read a CSV file, of whose cells only the empty ones are missing: NA may be a role's name.

    A file whose last line has no end was cut off: what is left of it may look whole.

    Args:
        path: File that is read.
        columns: Columns that it must have, or may where the name ends with a "?". Each with
            `float` where its cells must be numbers or empty, `bool` where True, False or empty,
            and `str` where they are text, such as a role that is named "1".
        remedy: What the user of a damaged file is told to do.
        **options: Options of `pandas.read_csv`; with `keep_default_na` also for empty cells.

    Raises:
        UserError: If the file is damaged, or cannot be read.
    """
    import pandas as pd

    if "keep_default_na" not in options:
        options |= {"keep_default_na": False, "na_values": [""]}
    columns = columns or {}
    kinds = {name.removesuffix("?"): kind for name, kind in columns.items()}
    options.setdefault("dtype", {name: str for name, kind in kinds.items() if kind is str})
    try:
        with open_file(path) as file:
            if not _ends_a_line(file):
                raise ValueError("its last line has no end, as where it was cut off")
            table = pd.read_csv(file, encoding="utf-8", **options).rename(columns=_unguarded)
        for name, kind in kinds.items():
            if name in table:
                _check_column(table, name, kind)
            elif f"{name}?" not in columns:
                raise ValueError(f"it lacks the column {name!r}")
    except UserError:
        raise
    except (ValueError, OverflowError, TypeError, MemoryError, RecursionError) as error:
        # raised by pandas
        raise damaged(path, one_line(error, 300), remedy) from None
    texts = table.select_dtypes(["object", "string"])
    return table.assign(**{name: texts[name].map(_unguarded) for name in texts})


def _check_column(table: "pd.DataFrame", name: str, kind: type) -> None:
    """Check the cells of a column, and make numbers of those of `float`; see `read_table`."""
    import pandas as pd

    if kind is float:
        # A column of empty cells alone holds objects.
        table[name] = pd.to_numeric(table[name])
        if np.isinf(table[name].to_numpy(float)).any():
            raise ValueError(f"the column {name!r} has a number that is not finite")
    elif kind is bool:
        cells = table[name].dropna()
        # All cells are texts where one is none of the two.
        if len(wrong := cells[~cells.isin([True, False, "True", "False"])]):
            raise ValueError(f"the column {name!r} has {wrong.iloc[0]!r}, not True or False")


def _ends_a_line(file: BinaryIO) -> bool:
    """Whether nothing, or the end of a line, is the last of a file, which is then at its start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 1, 0))
    last = file.read(1)
    file.seek(0)
    return last in (b"", b"\n", b"\r")


def open_file(path: pathlib.Path) -> BinaryIO:
    """A file to read bytes from.

    Raises:
        UserError: If it cannot be read.
    """
    if "\0" in str(path):
        raise UserError(f"{str(path)!r} cannot be read: its name has a zero byte")
    try:
        if path.exists() and not path.is_file():  # a device or a pipe may have no end
            raise UserError(f"{path} cannot be read: it is no file")
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
