"""`python -m launch.sweep`: what it says, and with which code it ends."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pandas as pd
import pytest

from mecheval_jax.command_line import REQUEUE
from mecheval_jax.store.sweep_folder import SweepFolder
from tests.support import forked, small

CONFIG = "--config=configs/recall.py:mixer=based,width=16,layers=1,pairs=2,keys=8,smoke=True"
FLAGS = [
    "--config.training.batch_size=8",
    "--config.training.evaluation_documents=16",
    "--config.model.feed_forward=none",
    "--strategy=vmap",
    "--cpu_devices=2",
    "--interventions=none",
    "--grid=training.seed=0,1,2",
]


def sweep(*arguments):
    return forked.start(["-m", "launch.sweep", *arguments])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "sweep"
    done = sweep(CONFIG, *FLAGS, f"--workdir={path}")
    assert done.returncode == 0, done.stderr
    assert "3 of 3 training" in done.stderr
    return SweepFolder(path)


def test_three_members_on_two_devices(finished):
    """Catches devices of a CPU that are not made, and members that do not divide over them."""
    assert json.loads(finished.provenance.read_text())["device_count"] == 2
    assert sorted(pd.read_csv(finished.table)["member"].unique()) == [0, 1, 2]
    assert finished.report.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--workdir is missing"),
        (("--workdir={new}", "--grid=training.sed=1"), "'sed' (did you mean 'seed'?)"),
        (("--workdir={new}", "--grid=training.seed=1,1"), "members 0 and 1 are the same run"),
        (("--workdir={new}", "--shard=4/4"), "shard '4/4'"),
        (("--workdir={new}", "--groups=based"), "unknown group 'based'"),
        (("--workdir={new}", "--strategy=fast"), "vmap|scan|loop"),
        (("--workdir={new}", "--members_at_once=0"), "members_at_once"),
        (("--workdir={new}", "--cpu_devices=0"), "--cpu_devices is 0"),
        (("--workdir={new}", "--launcher=slurm"), "sbatch"),
        (("--workdir={new}", "--slurm=nodes=2"), "give --launcher=slurm"),
        (("--workdir={new}", "--jobs_at_once=2"), "the launcher is 'none'"),
        (("--workdir={new}", "--shard="), "--shard is empty"),
        (("--workdir={new}", "--writers=tensorbord"), "'tensorbord' (did you mean 'tensorboard'?)"),
        (("--workdir={old}", "--grid=training.seed=0,1"), "another sweep (3 members there and 2 "),
        (("--workdir={old}/groups",), "is not empty and holds no sweep"),
    ],
)
def test_mistakes(finished, tmp_path, arguments, message):
    """Catches a traceback, another exit code, and a folder that is made all the same."""
    new = tmp_path / "new"
    given = [text.format(new=new, old=finished.path) for text in arguments]
    done = sweep(CONFIG, *FLAGS[:3], "--config.training.steps=20", *given)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not new.exists()


def test_groups_as_jobs(tmp_path):
    """Catches jobs that run other groups, launch jobs themselves, outlive who launched them, or
    are not collected.
    """
    path = tmp_path / "by_jobs"
    status = path / "groups/000_based_width_16/status.json"

    def state():
        return json.loads(status.read_text())["state"] if status.exists() else None

    grid = "--grid=training.seed=0,1"
    arguments = [CONFIG, *FLAGS[:-1], grid, f"--workdir={path}", "--launcher=local"]
    program = ["-m", "launch.sweep", *arguments]
    # As a terminal does it: SIGINT comes to all that the launcher started.
    for stop in (
        lambda launcher: launcher.terminate(),
        lambda launcher: os.killpg(launcher.pid, signal.SIGINT),
    ):
        process = small.process(program)
        process |= {"start_new_session": True, "preexec_fn": small.heed_signals}
        with subprocess.Popen(**process, stderr=subprocess.PIPE) as launcher:
            job = re.search(r": job (\d+), log", launcher.stderr.readline())[1]
            while state() != "running":
                time.sleep(0.1)
            stop(launcher)
            said = launcher.communicate()[1]
            assert "waiting until the jobs have saved" in said
        assert launcher.returncode == REQUEUE
        assert not pathlib.Path("/proc", job).exists()
        assert state() == "preempted"
    done = small.start(program)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(": finished (job ") == 1
    # Whose devices would be those of the machine that launches; members have those of their jobs.
    assert "device" not in json.loads((path / "provenance.json").read_text())
    (member,) = path.glob("groups/*/members/0000")
    assert json.loads((member / "provenance.json").read_text())["device_count"] == 2
    assert sorted(pd.read_csv(path / "members.csv")["member"].unique()) == [0, 1]
    again = sweep(*arguments)
    assert again.returncode == 0
    assert "(job" not in again.stderr


def test_a_config_file_that_computes(tmp_path):
    """Catches a traceback where devices cannot be set up any more."""
    path = tmp_path / "own.py"
    path.write_text(
        "import jax.numpy as jnp\n"
        "from configs.recall import get_config, sweep\n"
        "RATE = jnp.ones(2)\n"
    )
    done = sweep(f"--config={path}", f"--workdir={tmp_path / 'new'}")
    assert done.returncode == 2, done.stderr
    assert f"{path}: it computes with jax as it is read" in done.stderr
    assert not (tmp_path / "new").exists()
