"""What a terminal shows while work is under way."""

import io
import threading
import time
import types

import numpy as np
import pytest
from rich.console import Console

from mecheval_jax.reporting.terminal import live, progress
from mecheval_jax.reporting.terminal.live import SweepView
from mecheval_jax.reporting.terminal.progress import Progress, RunCallbacks, Working
from mecheval_jax.store.metrics import Writer
from mecheval_jax.training.callbacks import Standing
from tests.support.sweep_standing import standing


def test_a_terminal_has_a_table(monkeypatch):
    """Catches a view that shows nothing where it is looked at."""
    console = Console(file=io.StringIO(), width=120, height=40, force_terminal=True)
    for module in (live, progress):
        monkeypatch.setattr(module, "CONSOLE", console)
    with SweepView("sweep") as view:
        for name in ("g0", "g1"):
            view.update(name, name, standing(step=7, training=3, best_accuracy=0.25, rate=9.5))
    shown = console.file.getvalue()
    for word in ("steps/s", "7/100", "25.0%", "9.5", "total", "7%"):
        assert word in shown


def test_the_rate_is_that_of_steps(monkeypatch, capsys):
    """Catches a rate, and a time left, that count the time of compiling, and a silent start."""
    times = iter([0.0, 60.0, 80.0])
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=times.__next__))
    with Progress("training based", 300) as shown:
        shown.advance(100, "loss 0.700")
        shown.advance(200, "loss 0.500")
    assert capsys.readouterr().err.splitlines() == [
        "training based: step 0 of 300; first the programs are compiled",
        "training based: 100/300 steps, loss 0.700",
        "training based: 200/300 steps, 5.00 steps/s, 20 s left, loss 0.500",
    ]


def test_work_of_unknown_length_is_heard(monkeypatch, capsys):
    """Catches minutes of silence, and a voice that goes on when the work is over."""
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.01)
    spoke = threading.Event()
    told = progress.say

    def say(text):
        told(text)
        if "at work" in text:
            spoke.set()

    monkeypatch.setattr(progress, "say", say)
    with Working("measuring [b]"):
        assert spoke.wait(10)
    before = capsys.readouterr().err
    time.sleep(0.05)
    assert before.startswith("measuring [b]\nmeasuring [b]: at work for 0 s\n")
    assert not capsys.readouterr().err


def test_work_in_a_terminal_turns_a_spinner(monkeypatch):
    """Catches a title that is read as markup, and a spinner that stays."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    monkeypatch.setattr(progress, "CONSOLE", console)
    with Working("measuring [b]"):
        time.sleep(0.2)
    assert "measuring [b] " in console.file.getvalue()
    assert "0:00:00" in console.file.getvalue()


TRAIN = {"split": "train", "loss": 0.5, "member": 0}


class Heard(Writer, Progress):
    """In place of a writer of metrics, and of a bar."""

    def __init__(self):
        self.rows, self.shown = [], []

    def write(self, row):
        self.rows.append(row)

    def advance(self, done, note=""):
        self.shown.append((done, note))


def stands(step, stopped_at=-1, taken=5):
    at = (np.array([of]) for of in (-1, stopped_at))
    return Standing(step, *at, np.array([stopped_at < 0]), taken, 1.0)


def test_a_step_has_the_time_of_one(monkeypatch):
    """Catches the time of a whole stretch, or since the start, as that of a step."""
    times = iter([100.0, 110.0, 112.0])
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=times.__next__))
    heard = Heard()
    callbacks = RunCallbacks(heard, heard, None, step=20)
    callbacks.record(TRAIN | {"step": 25})
    callbacks.record({"split": "dev", "accuracy": 0.25, "step": 25})
    callbacks.record(TRAIN | {"step": 35})
    assert [row.get("seconds_per_step") for row in heard.rows] == [2.0, None, pytest.approx(0.2)]
    assert all("member" not in row for row in heard.rows)


def test_what_is_shown(capsys):
    """Catches a bar without the numbers, one that moves before a step, and a silent early end."""
    heard = Heard()
    callbacks = RunCallbacks(heard, heard, 0.9, step=0)
    callbacks.advance(stands(0, taken=0))
    callbacks.record(TRAIN | {"step": 5})
    callbacks.record({"split": "dev", "accuracy": 0.25, "step": 5})
    callbacks.advance(stands(5))
    assert heard.shown == [(5, "loss 0.500, dev accuracy 25.0%")]
    assert "target" not in capsys.readouterr().err
    callbacks.advance(stands(10, stopped_at=10))
    assert "the target of 90% on dev documents is reached at step 10" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "shown"), [(1e-9, "1e-07%"), (0.07, "7%"), (0.99999, "99.999%"), (1.0, "100%")]
)
def test_a_target_is_shown_as_it_was_given(target, shown, capsys):
    """Catches a target that is rounded to 0 %, or to all."""
    heard = Heard()
    RunCallbacks(heard, heard, target, step=0).advance(stands(10, stopped_at=10))
    assert f"the target of {shown} on dev" in capsys.readouterr().err
