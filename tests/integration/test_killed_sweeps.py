"""A sweep that is killed at any moment ends as it would have, to the bit."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from mecheval_jax.store.sweep_folder import SweepFolder
from tests.support.compilation import ROOT, settings

KILLS = 10


def start(workdir):
    command = [sys.executable, "-m", "tests.support.killed_sweep", str(workdir)]
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
    random.seed(0)
    kills, sweeps = [], 0
    while (
        len(kills) < KILLS
    ):  # a sweep that ends before it is killed is compared, and another begun
        killed = SweepFolder(tmp_path / f"killed_{sweeps}")
        sweeps += 1
        while True:
            process = start(killed.path)
            if len(kills) < KILLS:
                # From the first second, in which folders are made, to the writing of the tables.
                time.sleep(random.uniform(0.1, 1.0) * seconds)
                process.send_signal(signal.SIGKILL)
            _, said = process.communicate()
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, said.decode()
            kills.append(moment(killed.groups()[0]) if killed.sweep.exists() else None)
        assert_same(killed, whole)
    print("killed at", kills)


def assert_same(ours, theirs):
    for name in ("table", "best", "success"):
        assert getattr(ours, name).read_bytes() == getattr(theirs, name).read_bytes(), name
    for group, expected in zip(ours.groups(), theirs.groups(), strict=True):
        assert group.metrics.read_bytes() == expected.metrics.read_bytes()
