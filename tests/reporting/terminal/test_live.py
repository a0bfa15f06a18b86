"""How a sweep is doing: the view of who trains it, and of who reads its files."""

import datetime
import io
import json
import os
import socket
import subprocess
import sys

import pytest
from rich.console import Console

from mecheval_jax.errors import UserError
from mecheval_jax.reporting.terminal import live, progress
from mecheval_jax.reporting.terminal.live import (
    SweepView,
    advice,
    duration,
    show_overview,
    status_table,
)
from mecheval_jax.store.run_folder import RunFolder, write_json
from mecheval_jax.store.status import (
    NamedStatus,
    is_dead,
    read_overview,
    seconds_left,
    total,
)
from mecheval_jax.store.sweep_folder import GroupStatus, SweepFolder
from tests.support import forked
from tests.support.compilation import ROOT

NOW = datetime.datetime(2030, 1, 1, 12, 0, tzinfo=datetime.UTC)


def status(state="running", **fields):
    return GroupStatus(state, **{"members": 4, "steps": 100, **fields})


@pytest.fixture
def sweep(tmp_path):
    """Three groups of two members: one done, one of this process, one not begun."""
    folder = SweepFolder(tmp_path / "sweep")
    folder.path.mkdir()
    groups = [
        {"name": f"g{i}", "title": f"mamba, width {16 * (i + 1)}", "members": [2 * i, 2 * i + 1]}
        for i in range(3)
    ]
    members = [{"training.seed": i, "training.steps": 100 + i} for i in range(6)]
    base = {"task": {}, "model": {}, "training": {"steps": 100}, "evaluation": {}}
    write_json(folder.sweep, {"base": base, "members": members, "groups": groups})
    arguments = ["--config=c.py", f"--workdir={folder.path}"]
    arguments += ["--shard=1/2", "--groups", "g0", "--coordinator=a:1", "--process_id=0"]
    write_json(folder.provenance, {"arguments": arguments})
    done = status("finished", members=2, step=100, stopped=1, best_accuracy=0.9, seconds=7.0)
    folder.group("g0").write_status(done)
    half = status(members=2, step=50, training=2, best_accuracy=0.4, rate=20.0)
    folder.group("g1").write_status(half)
    rows = [
        {"step": step, "split": split, "member": member, "loss": 1.0, "accuracy": accuracy}
        for step, split, member, accuracy in (
            (50, "dev", 0, 0.2),
            (50, "dev", 1, float("nan")),
            (100, "train", 0, 1.0),
            (100, "dev", 1, 0.9),
        )
    ]
    rows.append({"step": 150, "split": "dev"})
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"step": 200, "split": "dev", "acc'
    folder.group("g0").metrics.write_text(text)
    return folder


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


def test_what_shows_a_sweep_that_is_done(sweep):
    """Catches advice to a program that takes single runs alone."""
    for name in ("g1", "g2"):
        sweep.group(name).write_status(status("finished"))
    assert advice(read_overview(sweep.path)).startswith("all groups are finished; to write the")
    sweep.report.touch()
    assert advice(read_overview(sweep.path)) == f"all done; {sweep.report} shows it"


def test_a_status_that_is_damaged(sweep):
    """Catches a traceback."""
    group = sweep.group("g1")
    right = json.loads(group.status.read_text())
    for wrong, message in (
        ({"updated": ""}, r"status\.json is damaged: updated is ''"),
        ({"step": "a"}, r"status\.json is damaged: step is 'a'"),
        ({"rate": None}, r"status\.json is damaged: rate is None"),
        ({"measured": "all"}, r"measured is 'all', and not of full, verdict, none"),
    ):
        write_json(group.status, right | wrong)
        with pytest.raises(UserError, match=message):
            read_overview(sweep.path)


def test_a_sweep_that_is_damaged(sweep):
    """Catches a traceback."""
    right = json.loads(sweep.sweep.read_text())
    group = {"name": 3, "title": "x", "members": 5}
    for wrong in ({"base": {}}, {"groups": [{}]}, {"groups": [group]}, {"members": [3]}):
        write_json(sweep.sweep, right | wrong)
        with pytest.raises(UserError, match=rf"damaged: {next(iter(wrong))} is not as it was"):
            read_overview(sweep.path)


def test_a_group_on_another_machine():
    """Catches a process id looked up on the wrong machine."""
    far = status(host="elsewhere", process=os.getpid(), updated=NOW.isoformat())
    later = NOW + datetime.timedelta(seconds=601)
    assert not is_dead(far, NOW + datetime.timedelta(seconds=599), 600)
    assert is_dead(far, later, 600)
    assert not is_dead(far, later, 1000)
    assert not is_dead(status("finished", updated=NOW.isoformat()), later, 600)


def test_a_group_on_this_machine():
    """Catches a group that compiles for long taken for dead, and a number given to another."""
    now = datetime.datetime.now(datetime.UTC)
    here = status(host=socket.gethostname(), process=os.getpid())
    here.updated = (now - datetime.timedelta(seconds=1)).isoformat()
    assert not is_dead(here, now, patience=0)
    here.updated = (now - datetime.timedelta(days=3650)).isoformat()  # before this process began
    assert is_dead(here, now, patience=1e10)


def test_time_left():
    """Catches a rate of groups that no longer run, and finished members that still cost time."""
    running = status(step=50, training=2, rate=10.0)
    assert seconds_left([running, status("finished", rate=99.0)]) == 10.0
    assert seconds_left([running, status("waiting")]) == 10.0 + 40.0
    assert seconds_left([status("waiting")]) is None
    assert total([running, status("finished", rate=99.0)]).rate == 10.0
    assert total([status(best_accuracy=None), status(best_accuracy=0.0)]).best_accuracy == 0.0
    assert [duration(s) for s in (None, 7, 600, 9000, 86_400 * 3)] == [
        "–",  # noqa: RUF001
        "7 s",
        "10 min",
        "2.5 h",
        "3.0 days",
    ]


def printed(groups, width=120, room=None, title="sweep"):
    console = Console(file=io.StringIO(), width=width)
    console.print(status_table(groups, title, width, room))
    return console.file.getvalue()


def test_the_table_fits_a_terminal():
    """Catches a sweep of many groups whose running one is off the screen."""
    groups = [NamedStatus(f"g{i}", f"group {i}", status("waiting")) for i in range(30)]
    groups[20] = NamedStatus("g20", "group 20", status(step=3, training=4, diverged=1))
    text = printed(groups, room=5)
    assert "group 20" in text
    assert "… 29 more" in text
    assert "3/3,000" not in text
    assert "diverged" in text
    assert "stopped" not in text
    assert len(text.splitlines()) < 12
    assert "more" not in printed(groups)


@pytest.mark.parametrize("width", [200, 80, 60, 50])
def test_a_narrow_table_says_less_and_nothing_wrong(width):
    """Catches numbers that are cut, and groups without a name."""
    busy = status(members=64, training=60, diverged=3, stopped=1, step=123456, steps=200000)
    busy.rate, busy.best_accuracy = 12345.6, 0.99
    titles = ("gated_delta_net, width 4096, 24 layers", "attention, width 16, 2 layers")
    groups = [NamedStatus(f"g{i}", title, busy) for i, title in enumerate(titles)]
    lines = printed(groups, width, room=9).splitlines()
    assert len(lines) == 5
    assert "gated_delta_ne" in lines[2]
    assert all(words in lines[2] for words in ("running", "123,456/200,000", "99.0%"))
    assert ("diverged" in lines[1]) == (width == 200)
    assert ("12,346" in lines[2]) == (width >= 80)
    assert ("6 min" in lines[2]) == (width >= 60)


def test_titles_are_no_markup():
    """Catches a workdir such as x[/y] that the terminal takes for its own language."""
    assert "x[/y]" in printed([NamedStatus("g", "g", status())], title="x[/y]")


def plain(monkeypatch, clock):
    """A view without a terminal, at times of the test's own."""
    console = Console(file=io.StringIO(), width=500)
    monkeypatch.setattr(live, "CONSOLE", console)
    monkeypatch.setattr("mecheval_jax.console.CONSOLE", console)
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    return console.file


def test_plain_lines(monkeypatch):
    """Catches a line for every stop, and a change of state that nobody is told."""
    clock = [0.0]
    file = plain(monkeypatch, clock)
    with SweepView("sweep") as view:
        view.update("g0", "mamba", status("waiting"))
        view.update("g1", "based", status("waiting"))
        running = status(step=1, training=4, rate=40.0)
        view.update("g0", "mamba", running)
        for clock[0] in (5.0, 10.0, 16.0, 20.0):
            running.step = int(clock[0])  # the caller's own object, changed in place
            view.update("g0", "mamba", running)
        running.state, running.error = "failed", "out of memory"
        view.update("g0", "mamba", running)
    lines = file.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("mamba: running, step 1/100, 4 of 4 training")
    assert lines[0].endswith("groups: 1 running, 1 waiting, 20 s left in all")
    assert "step 16/100" in lines[1]
    assert "mamba: failed" in lines[2]
    assert "(out of memory)" in lines[2]


def test_a_terminal_has_a_table(monkeypatch):
    """Catches a view that shows nothing where it is looked at."""
    console = Console(file=io.StringIO(), width=120, height=40, force_terminal=True)
    for module in (live, progress):
        monkeypatch.setattr(module, "CONSOLE", console)
    with SweepView("sweep") as view:
        for name in ("g0", "g1"):
            view.update(name, name, status(step=7, training=3, best_accuracy=0.25, rate=9.5))
    shown = console.file.getvalue()
    for word in ("steps/s", "7/100", "25.0%", "9.5", "total", "7%"):
        assert word in shown


def run_rows(folder, *steps):
    rows = [{"step": n, "split": "train", "loss": 1, "seconds_per_step": 0.5} for n in steps]
    rows += [{"step": n, "split": "dev", "loss": 1, "accuracy": n / 100} for n in steps]
    rows.sort(key=lambda row: row["step"])
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_folder_of_another_program(tmp_path):
    """Catches a traceback for another tool's config.json."""
    for content in ({}, {"training": 3}, {"training": {"steps": 3}, "model": []}):
        write_json(tmp_path / "config.json", content)
        with pytest.raises(UserError, match="is no run's"):
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
    folder.update_summary(finished=True, step=30)
    overview = read_overview(tmp_path)
    (group,) = overview.groups
    assert (group.status.state, group.status.step, group.status.stopped) == ("finished", 30, 1)
    assert advice(overview) == f"all done; python -m launch.report --workdir={tmp_path} shows it"
    (tmp_path / "report.html").touch()
    assert advice(overview) == f"all done; {tmp_path}/report.html shows it"


def test_what_is_printed(sweep, capsys):
    """Catches a failure without its reason, and a dead group without its process."""
    failed = status("failed", members=2, error="RESOURCE_EXHAUSTED")
    sweep.group("g2").write_status(failed)
    show_overview(read_overview(sweep.path))
    said = capsys.readouterr().out
    assert "mamba, width 48: RESOURCE_EXHAUSTED" in said
    assert "best so far: 90.0% on dev documents, member 1 of g0 (training.seed=1" in said
    assert "1 to be taken up again, by python -m launch.sweep" in said


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
    (sweep.group("g1").status).write_text("{")
    with pytest.raises(UserError, match="damaged"):
        read_overview(sweep.path)
