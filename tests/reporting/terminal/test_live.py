"""How a sweep is doing: the view of who trains it, and of who reads its files."""

import io

import pytest
from rich.console import Console

from mecheval_jax.reporting.terminal import live
from mecheval_jax.reporting.terminal.live import (
    SweepView,
    advice,
    describe,
    show_overview,
    status_table,
)
from mecheval_jax.store.choice import CHOICE
from mecheval_jax.store.status import NamedStatus, Overview, read_overview
from tests.support.sweep_standing import make_standing, standing


@pytest.fixture
def sweep(tmp_path):
    return make_standing(tmp_path / "sweep")


def test_what_shows_a_sweep_that_is_done(sweep):
    """Catches advice to a program that takes single runs alone."""
    for name in ("g1", "g2"):
        sweep.group(name).write_status(standing("finished"))
    assert advice(read_overview(sweep.path)).startswith("all groups are finished; to write the")
    sweep.report.touch()
    assert advice(read_overview(sweep.path)) == f"all done; {sweep.report} shows it"


def test_what_shows_a_run_that_is_done(tmp_path):
    """Catches a command that breaks when it is pasted."""
    group = NamedStatus("run", "mamba", standing("finished"))
    done = Overview(str(tmp_path / "my run"), [group], None, None, {})
    assert advice(done).endswith(f"launch.report '--workdir={tmp_path / 'my run'}' shows it")
    own = advice(done._replace(python_path="my code"))
    assert own.startswith("all done; PYTHONPATH='my code' python -m launch.report ")


def test_a_group_that_begins_says_what_it_does():
    """Catches minutes of the same line, as if nothing were done."""
    told = describe(NamedStatus("g", "mamba", standing(step=0, training=6)))
    assert told.endswith("training; first the programs are compiled, and tried")
    assert "compiled" not in describe(NamedStatus("g", "mamba", standing(step=3, training=6)))
    slow = describe(NamedStatus("g", "mamba", standing(step=3, training=6, rate=0.34)))
    assert ", 0.34 steps/s in all, " in slow  # and not none


def printed(groups, width=120, room=None, title="sweep"):
    console = Console(file=io.StringIO(), width=width)
    console.print(status_table(groups, title, width, room))
    return console.file.getvalue()


def test_the_table_fits_a_terminal():
    """Catches a sweep of many groups whose running one is off the screen."""
    groups = [NamedStatus(f"g{i}", f"group {i}", standing("waiting")) for i in range(30)]
    groups[20] = NamedStatus("g20", "group 20", standing(step=3, training=4, diverged=1))
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
    busy = standing(members=64, training=60, diverged=3, stopped=1, step=123456, steps=200000)
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
    assert "x[/y]" in printed([NamedStatus("g", "g", standing())], title="x[/y]")


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
        view.update("g0", "mamba", standing("waiting"))
        view.update("g1", "based", standing("waiting"))
        running = standing(step=1, training=4, rate=40.0)
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


def test_a_group_that_trains_no_more_is_measured():
    """Catches "0 s left" of a group that goes on for minutes."""
    done = standing(step=100, training=0, rate=40.0, best_accuracy=0.5)
    text = printed([NamedStatus("g", "based", done)])
    assert "measuring" in text
    assert "0 s" not in text
    told = live.describe(NamedStatus("g", "based", done))
    assert told == "based: measuring, step 100/100, 0 of 4 training, best dev accuracy 50.0%"


def test_a_choice_under_way_is_no_finished_sweep(sweep):
    """Catches advice to start a program again that is at work."""
    for name in ("g1", "g2"):
        sweep.group(name).write_status(standing("finished"))
    with sweep.lock(CHOICE):
        told = advice(read_overview(sweep.path))
        assert told.startswith("all runs are trained and judged; what follows is at work: choice, ")
    assert "to write the tables" in advice(read_overview(sweep.path))


def test_what_is_printed(sweep, capsys):
    """Catches a failure without its reason, and a dead group without its process."""
    failed = standing("failed", members=2, error="RESOURCE_EXHAUSTED")
    sweep.group("g2").write_status(failed)
    show_overview(read_overview(sweep.path))
    said = capsys.readouterr().out
    assert "mamba, width 48: RESOURCE_EXHAUSTED" in said
    assert "best so far: 90.0% on dev documents, member 1 of g0 (training.seed=1" in said
    assert "1 to be taken up again, by python -m launch.sweep" in said
