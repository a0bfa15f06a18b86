"""Hashes, and folders whose files are what was written."""

import pathlib
import shutil

import pytest

from mecheval_jax.checksums import SUMS, check_sums, sha256_of, write_sums
from mecheval_jax.errors import UserError
from mecheval_jax.files import write_text


def is_read(name):
    """What the reader of the folder below looks for."""
    return name in ("a", "c")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "d").mkdir()
    for name in ("a", "d/b"):
        write_text(tmp_path / name, f"content of {name}")
    write_sums(tmp_path)
    return tmp_path


def test_the_form_is_that_of_sha256sum(folder):
    """Catches hashes that no other tool can check."""
    lines = (folder / SUMS).read_text().splitlines()
    assert [line[64:] for line in lines] == ["  a", "  d/b"]
    check_sums(folder, is_read)
    (folder / SUMS).unlink()
    check_sums(folder, is_read)  # as of an earlier version


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: write_text(folder / "d/b", "content"),
            "d/b is not what was written",
        ),
        (lambda folder: (folder / "a").unlink(), "a is gone"),
        (lambda folder: write_text(folder / "c", ""), "c has no hash"),
        (lambda folder: write_text(folder / SUMS, ""), "a has no hash"),
        (
            lambda folder: write_text(folder / SUMS, "ab  a\n"),
            "SHA256SUMS is damaged: it has a line 'ab  a'",
        ),
        (lambda folder: (folder / SUMS).write_bytes(b"\xff"), "damaged"),
        (lambda folder: shutil.rmtree(folder / "d"), "d/b is gone"),
    ],
)
def test_any_change_is_named(folder, damage, message):
    """Catches a change, a loss or an addition that is let through."""
    damage(folder)
    with pytest.raises(UserError, match=message):
        check_sums(folder, is_read)


def test_no_path_leads_outside(folder):
    """Catches a list of hashes that makes its reader open a file elsewhere."""
    sums = (folder / SUMS).read_text()
    for name in ("../other", "/dev/zero", "link"):
        write_text(folder / SUMS, f"{sums}{'0' * 64}  {name}\n")
        with pytest.raises(UserError, match=f"{name} is gone"):
            check_sums(folder, is_read)
    (folder / "link").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="link is gone"):
        check_sums(folder, is_read)


def test_files_that_nobody_reads(folder):
    """Catches a folder that is called damaged for what a file manager left in it."""
    for name in ("commit", ".DS_Store", "d/.DS_Store"):
        write_text(folder / name, "")
    check_sums(folder, is_read)


def test_files_are_hashed_as_one(tmp_path):
    """Catches a checksum of the last file alone, and a traceback for one that is gone."""
    for name, text in (("a", "ab"), ("b", "c"), ("c", "abc")):
        write_text(tmp_path / name, text)
    both = sha256_of([tmp_path / "a", tmp_path / "b"])
    assert both == sha256_of([tmp_path / "c"])
    assert both == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(UserError, match="cannot be read: No such file"):
        sha256_of([pathlib.Path("/no/such/file")])
