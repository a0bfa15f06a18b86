"""Files that are whole or not there."""

import errno
import os
import pathlib
import socket
import subprocess

import numpy as np
import pandas as pd
import pytest

from mecheval_jax import files, machine
from mecheval_jax.errors import UserError


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    """Catches a file that is emptied before its new content is written."""
    path = tmp_path / "a.json"
    files.write_json(path, {"step": 1})

    def write_half():
        with files.draft_of(path) as draft:
            draft.write_text("{")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_half()
    assert files.read_json(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]  # not half a file on a disk that is full
    assert not files.is_draft(path)


def test_a_full_disk_is_that_of_the_file(tmp_path, monkeypatch):
    """Catches another folder of the program that is named where the one written to is full."""

    def refuse(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # a write names no file

    monkeypatch.setattr(pathlib.Path, "write_bytes", refuse)
    with pytest.raises(OSError, match="No space") as caught:
        files.write_text(tmp_path / "comparison.csv", "a")
    told = str(machine.explain(caught.value, "the/other/folder"))
    assert told.startswith(f"{tmp_path / 'comparison.csv'}: No space left on device: make room")


def test_drafts_of_processes_that_were_killed_are_removed(tmp_path):
    """Catches drafts that pile up, and one that another process or host is still writing."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    here = socket.gethostname()
    ended = f"a.json.{here}.{gone.pid}.part"
    others = (
        f"a.json.{here}.{os.getppid()}.part",  # that runs
        f"a.json.elsewhere.{gone.pid}.part",
        f"b.json.{here}.{gone.pid}.part",
        f"a.json.{here}.x.part",
        f"a.json.{here}.{10**30}.part",
    )
    for name in (ended, *others):
        (tmp_path / name).touch()
    files.write_json(tmp_path / "a.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", *others}


@pytest.mark.parametrize(("make", "told"), [(os.mkfifo, "no file"), (os.mkdir, "a folder")])
def test_no_file_takes_the_place_of_something_else(make, told, tmp_path):
    """Catches a table that is made for hours, and then finds a folder where it should stand."""
    make(tmp_path / "best.csv")
    for write in (files.check_file, lambda path: files.write_text(path, "a")):
        with pytest.raises(UserError, match=rf"best.csv cannot be written: it is {told}$"):
            write(tmp_path / "best.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["best.csv"]


def test_a_path_that_no_file_can_have(tmp_path):
    """Catches a traceback for a name in a damaged config."""
    with pytest.raises(UserError, match="its name has a zero byte"):
        files.open_file(tmp_path / "a\0b")


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe"])
def test_damaged_json_is_named(tmp_path, content):
    """Catches a traceback for a file that was cut off, or is something else."""
    path = tmp_path / "a.json"
    files.write_bytes(path, content)
    with pytest.raises(UserError, match=r"a\.json is damaged"):
        files.read_json(path, absent={})


def test_a_number_that_no_float_holds_is_named(tmp_path):
    """Catches a traceback of what turns values of a file into others."""
    path = tmp_path / "a.json"
    path.write_text(f'{{"a": {{"b": {10**400}}}}}')
    turned = {"object_hook": lambda values: float(values["b"]) if "b" in values else values}
    with pytest.raises(UserError, match=r"a\.json is damaged: .* too large"):
        files.read_json(path, **turned)


def test_json_that_may_be_absent(tmp_path):
    """Catches a file that has to be there and is taken for empty."""
    path = tmp_path / "a.json"
    assert files.read_json(path, absent={}) == {}
    with pytest.raises(UserError, match="cannot be read: No such file"):
        files.read_json(path)


def test_tables_are_what_was_written(tmp_path):
    """Catches a column of row numbers, and a damaged table that ends in a traceback."""
    path = tmp_path / "a.csv"
    files.write_table(path, pd.DataFrame({"name": ["a", "b"], "value": [0.5, None]}))
    assert path.read_text() == "name,value\na,0.5\nb,\n"
    assert files.read_table(path)["value"].isna().tolist() == [False, True]
    files.write_text(path, "")
    with pytest.raises(UserError, match=r"a\.csv is damaged: .*; write it again"):
        files.read_table(path, remedy="write it again")


@pytest.mark.parametrize("lost", [1, 2, 9])
def test_a_table_that_was_cut_off_is_damaged(tmp_path, lost):
    """Catches a table without its last rows, or a number without its last digits, taken for all."""
    path = tmp_path / "a.csv"
    files.write_table(path, pd.DataFrame({"name": ["a", "b"], "value": [0.512, 0.25]}))
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(UserError, match=r"a\.csv is damaged: its last line has no end.*; again"):
        files.read_table(path, remedy="again")


def test_lines_of_a_spreadsheet_end(tmp_path):
    """Catches a table that was saved with other ends of lines and is taken for one cut off."""
    for end in ("\r\n", "\r"):
        (tmp_path / "a.csv").write_bytes(f"name,value{end}a,0.5{end}".encode())
        assert files.read_table(tmp_path / "a.csv")["value"].tolist() == [0.5]


def test_texts_of_documents_are_no_formulas(tmp_path):
    """Catches a token that a spreadsheet would run, and one that is another after reading."""
    path = tmp_path / "a.csv"
    texts = ["=1+1", "@SUM(A1)", "'=x", "''", "+a", "-0.5", "-", None, "plain", '=HYPERLINK("x,y")']
    table = pd.DataFrame({"token": texts, "value": [-0.5] * len(texts)})
    files.write_table(path, table)
    written = pd.read_csv(path)["token"].dropna()
    assert not [text for text in written if text[0] in "=+@\t\r"]
    assert [text for text in written if text[0] == "-"] == ["-0.5"]
    back = files.read_table(path)
    assert back["token"].astype(object).where(back["token"].notna(), None).tolist() == texts
    assert back["value"].tolist() == table["value"].tolist()
    heads = ["=1+1", "@value", "plain", "-1"]
    files.write_table(path, pd.DataFrame([[1, 2, 3, 4]], columns=heads))
    assert list(pd.read_csv(path)) == ["'=1+1", "'@value", "plain", "-1"]
    assert list(files.read_table(path, {"@value": float})) == heads


def test_names_that_pandas_takes_for_missing(tmp_path):
    """Catches a role or a corruption named NA whose rows are taken for incomplete ones."""
    path = tmp_path / "a.csv"
    table = pd.DataFrame({"role": ["NA", "null", None], "value": [0.5, None, 1.0]})
    files.write_table(path, table)
    back = files.read_table(path, {"role": str, "value": float})
    assert back["role"].tolist()[:2] == ["NA", "null"]
    assert back["role"].isna().tolist() == [False, False, True]
    assert back["value"].isna().tolist() == [False, True, False]


def test_names_that_look_like_numbers_are_texts(tmp_path):
    """Catches a role named 1 or 1e3 that is a number after reading, so that no text fits it."""
    path = tmp_path / "a.csv"
    roles = ["1", "1e3", "-0", "007"]
    files.write_table(path, pd.DataFrame({"role": roles, "value": ["1", "2", "3", "4"]}))
    back = files.read_table(path, {"role": str, "value": float, "target?": str})
    assert back["role"].tolist() == roles
    assert back["value"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert "target" not in back
    with pytest.raises(UserError, match="lacks the column 'target'"):
        files.read_table(path, {"target": str})


def test_a_column_of_answers_has_no_other_word(tmp_path):
    """Catches a damaged cell that counts as a yes."""
    path = tmp_path / "a.csv"
    files.write_table(path, pd.DataFrame({"name": list("abc"), "front": [True, None, False]}))
    back = files.read_table(path, {"front": bool})
    assert back["front"].isna().tolist() == [False, True, False]
    assert [bool(cell) for cell in back["front"].dropna()] == [True, False]
    path.write_text(path.read_text().replace("b,", "b,perhaps"))
    with pytest.raises(UserError, match="column 'front' has 'perhaps', not True or False"):
        files.read_table(path, {"front": bool})


def test_arrays_are_found_by_their_names(tmp_path):
    """Catches an archive under another name than the one asked for, which numpy's writer gives."""
    path = tmp_path / "arrays"
    files.write_arrays(path, {"a": np.arange(3), "names": ("x", "y")})
    with np.load(path) as found:
        assert found["a"].tolist() == [0, 1, 2]
        assert found["names"].tolist() == ["x", "y"]


def test_arrays_of_no_file(tmp_path):
    """Catches a file that is not there, or is a folder, said to be damaged."""
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            files.read_arrays(path, "make it anew")
