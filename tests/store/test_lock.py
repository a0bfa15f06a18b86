"""A folder that one program works on at a time."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.store.lock import PREFIX, clear, held, held_by, lock
from mecheval_jax.store.run_folder import RunFolder


def test_the_second_is_told_of_the_first(tmp_path):
    """Catches two programs that write the same files, and a refusal that names nobody."""
    with lock(tmp_path, "training"):
        held = json.loads((tmp_path / f"{PREFIX}training").read_text())
        assert (held["host"], held["process"]) == (socket.gethostname(), os.getpid())
        with pytest.raises(UserError) as error, lock(tmp_path, "training"):
            pass
        for words in (str(tmp_path), "training", f"process {os.getpid()}", held["since"]):
            assert words in str(error.value)
        with lock(tmp_path, "interventions"):  # other work may go on beside it
            assert len(list(tmp_path.iterdir())) == 2
    assert not list(tmp_path.iterdir())
    with lock(tmp_path, "training"):
        pass


def test_a_reader_sees_who_works(tmp_path):
    """Catches a folder that counts as worked on for ever, and a reader that keeps others off."""
    assert held_by(tmp_path, "training") is None
    with lock(tmp_path, "training"):
        assert f"training, process {os.getpid()}" in held_by(tmp_path, "training")
        assert held_by(tmp_path, "choice") is None
    (tmp_path / f"{PREFIX}training").write_text("{}")  # left behind by a kill
    assert held_by(tmp_path, "training") is None
    with lock(tmp_path, "training"):
        pass


def test_what_a_kill_left_behind_is_cleared(tmp_path):
    """Catches a lock that outlives a finished group, and one that is lost by its holder."""
    path = tmp_path / f"{PREFIX}training"
    clear(tmp_path, "training")
    assert not path.exists()
    with lock(tmp_path, "training"):
        clear(tmp_path, "training")
        assert path.exists()
    path.write_text("{}")
    clear(tmp_path, "training")
    assert not path.exists()
    path.mkdir()
    clear(tmp_path, "training")  # whoever works here is told


def test_a_killed_holder_keeps_nobody_off(tmp_path):
    """Catches a workdir that nobody can use after a kill."""
    program = (
        "import fcntl, os, signal, sys\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / f"{PREFIX}training"
    subprocess.run([sys.executable, "-IS", "-c", program, path], check=False)
    assert path.exists()
    assert RunFolder(tmp_path).contents() == set()  # and is no content of the folder
    with lock(tmp_path, "training"):
        assert json.loads(path.read_text())["process"] == os.getpid()
    assert not path.exists()


def test_a_holder_that_has_not_said_who_it_is(tmp_path):
    """Catches a traceback in the moment between the lock and its text."""
    with lock(tmp_path, "training"):
        (tmp_path / f"{PREFIX}training").write_text("{")
        with pytest.raises(UserError, match="only begun"), lock(tmp_path, "training"):
            pass


def test_nothing_but_a_file_is_a_lock(tmp_path):
    """Catches a link in a folder from elsewhere that has what it leads to written over."""
    folder, mine = tmp_path / "folder", tmp_path / "mine"
    folder.mkdir()
    mine.write_text("precious")
    path = folder / f"{PREFIX}training"
    for place in (mine, tmp_path / "new", None):
        if place is None:
            os.mkfifo(path)
        else:
            path.symlink_to(place)
        words = "is a link" if place else "is no file"
        with pytest.raises(UserError, match=rf"{path}.* {words}"), lock(folder, "training"):
            pass
        assert held_by(folder, "training") is None
        path.unlink()
    assert mine.read_text() == "precious"
    assert not (tmp_path / "new").exists()


def test_who_looks_keeps_nobody_off(tmp_path):
    """Catches a program that is refused because another asked for a moment who works there."""
    path = tmp_path / f"{PREFIX}choice"
    path.touch()
    with path.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        end = threading.Timer(0.1, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        end.start()
        with lock(tmp_path, "choice"):
            pass
        end.join()


def test_a_moment_is_waited_for(tmp_path):
    """Catches two programs that change one file, of which the later undoes what the other did."""
    order = []

    def other():
        with held(tmp_path, "summary"):
            order.append("second")

    with held(tmp_path, "summary"):
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    with (
        held(tmp_path, "summary"),
        pytest.raises(UserError, match="another program"),
        held(tmp_path, "summary", patience=0.05),
    ):
        pass
