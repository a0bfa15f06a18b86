"""A sweep that is killed at any moment ends as it would have, to the bit."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from mecheval_jax.sweep_folder import SweepFolder
from tests.compilation import ROOT, settings

KILLS = 10


def start(workdir):
    command = [sys.executable, "-m", "tests.killed_sweep", str(workdir)]
    environment = os.environ | settings()
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)


def moment(group):
    """Where a group stands: what it is doing, and since when."""
    status = group.read_status()
    return status.state, status.attempts, status.step


@pytest.mark.slow
def test_ten_kills_change_nothing(tmp_path):
    """Catches whatever is lost or doubled between two writes: members, flags, rows, strategy."""
    whole = SweepFolder(tmp_path / "whole")
    began = time.monotonic()
    assert start(whole.path).wait() == 0
    seconds = time.monotonic() - began
    killed = SweepFolder(tmp_path / "killed")
    random.seed(0)
    kills = []
    while len(kills) < KILLS:
        process = start(killed.path)
        # From the first second, in which folders are made, to the writing of the tables.
        time.sleep(random.uniform(0.1, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        started = killed.sweep.exists()
        kills.append(moment(killed.groups()[0]) if started else None)
    print("killed at", kills)
    final = start(killed.path)
    assert final.wait() == 0, final.stderr.read().decode()
    for name in ("members", "best", "success"):
        ours, theirs = (getattr(folder, name).read_bytes() for folder in (killed, whole))
        assert ours == theirs, name
    for ours, theirs in zip(killed.groups(), whole.groups(), strict=True):
        assert ours.metrics.read_bytes() == theirs.metrics.read_bytes()
    assert len(kills) == KILLS
