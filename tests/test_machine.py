"""What the machine refuses is said in one line."""

import errno
import os
import pathlib

import pytest

from mecheval_jax import machine


def caused_by(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device: make room"),
        (OSError(errno.EACCES, "Permission denied", "/a"), "/a: Permission denied: choose"),
        (OSError(errno.ENOENT, "No such file", "/a"), "/a: No such file: it is not there"),
        (FileExistsError(errno.EEXIST, "File exists", "/a"), "/a: File exists: a folder has to be"),
        (caused_by(RuntimeError("x"), OSError(errno.EMFILE, "Too many")), "raise the limit"),
        (
            ValueError('RESOURCE_EXHAUSTED: writing "/a/b": No space left on device [os 28]'),
            "/a/b: No space left on device: make room",
        ),
        (RuntimeError("Unable to initialize backend 'foo'"), "such as cpu"),
        (MemoryError(), "no memory is left: take a smaller model"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"), "take a smaller"),
    ],
)
def test_what_is_refused(error, words):
    """Catches a traceback, of whichever library, where a user has something to do."""
    text = str(machine.explain(error))
    assert words in text
    assert "\n" not in text


def test_which_of_them_is_memory():
    """Catches other things that are used up taken for memory."""
    full = RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")
    request = RuntimeError("RESOURCE_EXHAUSTED: Failed to allocate request for 2.0GiB")
    for error in (MemoryError(), OSError(errno.ENOMEM, "Cannot allocate"), full, request):
        assert machine.is_out_of_memory(error)
    files = RuntimeError("RESOURCE_EXHAUSTED: Too many open files")
    for error in (files, OSError(errno.ENOSPC, "No space left"), ValueError("x")):
        assert not machine.is_out_of_memory(error)


def test_the_folder_is_named():
    """Catches a full disk among several, of which nobody knows which."""
    error = OSError(errno.ENOSPC, "No space left on device")
    assert str(machine.explain(error, "/a/run")).startswith("/a/run: No space left on device: ")
    error.filename = "/b"
    assert str(machine.explain(error, "/a/run")).startswith("/b: No space left")
    said = RuntimeError("RESOURCE_EXHAUSTED: Too many open files")
    assert str(machine.explain(said, "/a/run")).startswith("/a/run: RESOURCE_EXHAUSTED")


@pytest.mark.parametrize(
    "error", [KeyError("a"), OSError(errno.ENOENT, "No such file"), ValueError("x"), OSError("y")]
)
def test_other_errors_stay_what_they_are(error):
    """Catches a bug of ours that is called the machine's."""
    assert machine.explain(error) is None


def raised_beside(error, first):
    """An error that is raised while another one is handled."""
    try:
        try:
            raise first
        except OSError:
            raise error  # noqa: B904
    except Exception as caught:
        return caught


def test_errors_beside_those_of_the_machine():
    """Catches a bug of ours that the machine is blamed for, since it came after an error of it."""
    full = OSError(errno.ENOSPC, "No space left on device")
    assert machine.explain(raised_beside(KeyError("a"), full)) is None
    assert machine.explain(raised_beside(RuntimeError("a"), full)) is not None


@pytest.mark.parametrize(
    ("cores", "count", "shares"),
    [
        ({0, 1, 2, 3}, 1, [{0, 1, 2, 3}]),
        ({0, 1, 2, 3}, 2, [{0, 1}, {2, 3}]),
        ({8, 9, 4}, 2, [{4}, {8, 9}]),
        ({5, 6}, 3, [{5}, {6}, {5}]),
    ],
)
def test_shares_of_cores(cores, count, shares, monkeypatch):
    """Catches cores that nobody has or several have, and a share of none."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: cores, raising=False)
    assert machine.shares_of_cores(count) == shares


def test_a_system_that_does_not_say_which_cores_there_are(monkeypatch):
    """Catches a share that such a system could not give to a job."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert machine.shares_of_cores(2) == [None, None]


def test_a_user_without_a_home(monkeypatch, tmp_path):
    """Catches a program that ends for want of a folder that it can do without."""
    for name in ("MECHEVAL_JAX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(pathlib.Path, "home", unknown)
    assert machine.cache_folder().name == "mecheval_jax"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert machine.cache_folder() == tmp_path / "mecheval_jax"
    monkeypatch.setenv("MECHEVAL_JAX_CACHE", str(tmp_path / "own"))
    assert machine.cache_folder() == tmp_path / "own"


def test_too_few_open_files(monkeypatch):
    """Catches a checkpoint that waits for ever, and a limit that could have been raised."""
    resource = pytest.importorskip("resource")
    limits = [(64, 64)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: limits.append(new))
    with pytest.raises(machine.UserError, match="limit on open files is 64"):
        machine.allow_open_files()
    limits[:] = [(64, 10_000)]
    machine.allow_open_files()
    assert limits[-1] == (4096, 10_000)
