"""How a sweep or a run is doing, read from its files."""

import datetime
import json
import os
import socket
import subprocess
import sys

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.files import read_json
from mecheval_jax.reporting.terminal.live import advice, duration, show_overview
from mecheval_jax.store.run_folder import RunFolder, write_json
from mecheval_jax.store.status import is_dead, read_overview, seconds_left, total
from tests.support import forked, small
from tests.support.compilation import ROOT
from tests.support.sweep_standing import make_standing, standing

NOW = datetime.datetime(2030, 1, 1, 12, 0, tzinfo=datetime.UTC)


@pytest.fixture
def sweep(tmp_path):
    return make_standing(tmp_path / "sweep")


def test_a_sweep_from_its_files(sweep):
    """Catches totals that leave out groups not begun, and a best member by train documents."""
    overview = read_overview(sweep.path)
    assert [one.status.state for one in overview.groups] == ["finished", "running", "waiting"]
    assert [one.status.steps for one in overview.groups] == [100, 100, 105]
    assert overview.best._asdict() == {
        "group": "g0",
        "member": 1,
        "accuracy": 0.9,
        "changes": {"training.seed": 1, "training.steps": 101},
    }
    values = overview.as_dict()
    assert values["total"]["members"] == 6
    assert values["total"]["stopped"] == 1
    assert (values["total"]["step"], values["total"]["steps"]) == (300, 610)
    # 50 steps of two members, then 105 of two that wait, at 20 member-steps a second.
    assert values["total"]["seconds_left"] == pytest.approx((50 * 2 + 105 * 2) / 20)
    assert overview.resume == f"python -m launch.sweep --config=c.py --workdir={sweep.path}"
    assert advice(overview) == "running"


def test_a_row_without_a_loss(sweep):
    """Catches a traceback where a score that is not needed is missing."""
    metrics = sweep.group("g0").metrics
    row = {"step": 100, "split": "dev", "member": 0, "accuracy": 0.95, "loss": None}
    metrics.write_text(f"{json.dumps(row)}\n")
    assert read_overview(sweep.path).best.accuracy == 0.95


def test_a_choice_goes_on_by_its_own_program(sweep):
    """Catches the command of a sweep, which does not know the flags of a choice."""
    write_json(sweep.path / "plan.json", {"length": 64})
    assert read_overview(sweep.path).resume.startswith("python -m launch.choose --config=c.py")


def test_a_sweep_of_a_study_goes_on_by_it(sweep):
    """Catches the command of a sweep where another program made it."""
    provenance = read_json(sweep.provenance)
    write_json(sweep.provenance, provenance | {"program": "study"})
    assert read_overview(sweep.path).resume.startswith("python -m launch.study --config=c.py")


def test_a_process_that_is_gone(sweep):
    """Catches a killed sweep that seems to run, and one that runs declared dead."""
    group = sweep.group("g1")
    values = json.loads(group.status.read_text())
    values["process"] = 2**22 + 1  # above what Linux gives
    write_json(group.status, values)
    overview = read_overview(sweep.path)
    assert [one.status.state for one in overview.groups] == ["finished", "dead", "waiting"]
    assert advice(overview).startswith("nothing runs; to go on: python -m launch.sweep --config")
    assert json.loads(group.status.read_text())["state"] == "running"  # reading changes nothing


def test_a_run_that_is_at_work_is_not_dead(tmp_path):
    """Catches a large model, a stretch of whose steps takes long, that a user takes for dead."""
    folder = RunFolder(tmp_path / "run")
    folder.open(small.experiment())
    assert read_overview(folder.path).groups[0].status.state == "waiting"
    with folder.lock("training"):  # its programs are compiled: there is no metric yet
        assert read_overview(folder.path).groups[0].status.state == "running"
    folder.metrics.write_text('{"step": 1, "split": "train", "loss": 1.0, "accuracy": 0.1}\n')
    os.utime(folder.metrics, (1, 1))
    assert read_overview(folder.path).groups[0].status.state == "dead"
    with folder.lock("training"):
        assert read_overview(folder.path).groups[0].status.state == "running"


def test_a_group_on_another_machine():
    """Catches a process id looked up on the wrong machine."""
    far = standing(host="elsewhere", process=os.getpid(), updated=NOW.isoformat())
    later = NOW + datetime.timedelta(seconds=601)
    assert not is_dead(far, NOW + datetime.timedelta(seconds=599), 600)
    assert is_dead(far, later, 600)
    assert not is_dead(far, later, 1000)
    assert not is_dead(standing("finished", updated=NOW.isoformat()), later, 600)


def test_a_group_on_this_machine():
    """Catches a group that compiles for long taken for dead, and a number given to another."""
    now = datetime.datetime.now(datetime.UTC)
    here = standing(host=socket.gethostname(), process=os.getpid())
    here.updated = (now - datetime.timedelta(seconds=1)).isoformat()
    assert not is_dead(here, now, patience=0)
    here.updated = (now - datetime.timedelta(days=3650)).isoformat()  # before this process began
    assert is_dead(here, now, patience=1e10)


def test_time_left():
    """Catches a rate of groups that no longer run, and finished members that still cost time."""
    running = standing(step=50, training=2, rate=10.0)
    assert seconds_left([running, standing("finished", rate=99.0)]) == 10.0
    assert seconds_left([running, standing("waiting")]) == 10.0 + 40.0
    assert seconds_left([standing("waiting")]) is None
    failed = standing("failed", rate=10.0)
    assert seconds_left([failed]) is None
    assert failed.seconds_left is None
    assert total([running, standing("finished", rate=99.0)]).rate == 10.0
    assert total([standing(best_accuracy=None), standing(best_accuracy=0.0)]).best_accuracy == 0.0
    assert [duration(s) for s in (None, 7, 600, 9000, 86_400 * 3)] == [
        "-",
        "7 s",
        "10 min",
        "2.5 h",
        "3.0 days",
    ]


def run_rows(folder, *steps):
    rows = [{"step": n, "split": "train", "loss": 1, "seconds_per_step": 0.5} for n in steps]
    rows += [{"step": n, "split": "dev", "loss": 1, "accuracy": n / 100} for n in steps]
    rows.sort(key=lambda row: row["step"])
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_rate_of_a_run_is_that_of_several_stretches(tmp_path):
    """Catches the time left that a single stretch tells, in which a program was compiled."""
    write_json(tmp_path / "config.json", {"training": {"steps": 90}, "model": {"mixer": "hyena"}})
    rows = [
        {"step": step, "split": "train", "loss": 1, "seconds_per_step": seconds}
        for step, seconds in ((10, 9.0), (20, 0.5), (30, 0.25), (40, 4.0))
    ]
    folder = RunFolder(tmp_path)
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_overview(tmp_path).groups[0].status.rate == 2.0


def test_a_folder_of_another_program(tmp_path):
    """Catches a traceback for another tool's config.json."""
    for content in ({}, {"training": 3}, {"training": {"steps": 3}, "model": []}):
        write_json(tmp_path / "config.json", content)
        with pytest.raises(UserError, match=r"config\.json is damaged: (it|training|model) "):
            read_overview(tmp_path)


def test_a_single_run(tmp_path):
    """Catches a run that is called dead, or alive, against what its files say."""
    folder = RunFolder(tmp_path)
    write_json(folder.config, {"training": {"steps": 40}, "model": {"mixer": "mamba"}})
    assert read_overview(tmp_path).groups[0].status.state == "waiting"
    run_rows(folder, 10, 20)
    (group,) = read_overview(tmp_path).groups
    assert (group.title, group.status.state, group.status.step) == ("mamba", "running", 20)
    assert group.status.best_accuracy == 0.2
    assert group.status.seconds_left == 10.0
    os.utime(folder.metrics, (0, 0))
    assert read_overview(tmp_path).groups[0].status.state == "dead"
    folder.update_summary(finished=False, diverged_at=21)
    (group,) = read_overview(tmp_path).groups
    assert (group.status.state, group.status.diverged) == ("failed", 1)
    assert group.status.error == "training diverged at step 21"
    folder.update_summary(finished=True, step=30)  # as a member of a sweep
    (group,) = read_overview(tmp_path).groups
    assert (group.status.state, group.status.diverged, group.status.stopped) == ("finished", 1, 0)
    folder.update_summary(diverged_at=None)
    overview = read_overview(tmp_path)
    (group,) = overview.groups
    assert (group.status.state, group.status.step, group.status.stopped) == ("finished", 30, 1)
    assert advice(overview) == f"all done; python -m launch.report --workdir={tmp_path} shows it"
    (tmp_path / "report.html").touch()
    assert advice(overview) == f"all done; {tmp_path}/report.html shows it"


def test_the_program(sweep, tmp_path):
    """Catches a program whose JSON a machine cannot read, and a traceback for a wrong folder."""
    result = forked.start(["-m", "launch.status", f"--workdir={sweep.path}", "--json"])
    assert result.returncode == 0, result.stderr
    values = json.loads(result.stdout)
    assert values["total"]["states"] == {"finished": 1, "running": 1, "waiting": 1}
    assert values["groups"][1]["seconds_left"] == 5.0
    assert "host" not in values["total"]
    result = forked.start(["-m", "launch.status", f"--workdir={sweep.path}"])
    assert "mamba, width 32" in result.stdout
    result = forked.start(["-m", "launch.status", f"--workdir={tmp_path}"])
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    program = f"{sys.executable} -m launch.status --workdir={sweep.path} --json"
    ended = ["bash", "-o", "pipefail", "-c", f"{program} | true"]
    result = subprocess.run(ended, cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.parametrize(
    ("name", "group", "states", "best"),
    [
        ("groups/g1/status.json", "g1", ["finished", "damaged", "waiting"], "g0"),
        ("groups/g0/status.json", "g0", ["damaged", "running", "waiting"], None),
        ("groups/g0/metrics.jsonl", "g0", ["finished", "running", "waiting"], None),
        ("provenance.json", "provenance", ["finished", "running", "waiting"], "g0"),
    ],
)
def test_one_damaged_file_is_named(sweep, name, group, states, best, capsys):
    """Catches an overview that ends at one file, and a group that is lost without a word."""
    (sweep.path / name).write_text('{"dev"\n{"dev"\n')
    overview = read_overview(sweep.path)
    assert [one.status.state for one in overview.groups] == states
    assert [one.status.members for one in overview.groups] == [2, 2, 2]
    assert (overview.best and overview.best.group) == best
    assert list(overview.left_out) == [group]
    assert "is damaged" in overview.as_dict()["left_out"][group]
    assert (overview.resume is None) == (group == "provenance")
    show_overview(overview)
    assert f"{sweep.path / name} is damaged" in capsys.readouterr().out.replace("\n", "")
