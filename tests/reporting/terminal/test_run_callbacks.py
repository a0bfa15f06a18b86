"""What a run writes down and shows while it trains."""

import types

import numpy as np
import pytest

from mecheval_jax.reporting.terminal import run_callbacks
from mecheval_jax.reporting.terminal.progress import Progress
from mecheval_jax.reporting.terminal.run_callbacks import RunCallbacks
from mecheval_jax.store.metrics import Writer
from mecheval_jax.training.callbacks import Standing

TRAIN = {"split": "train", "loss": 0.5, "member": 0}


class Heard(Writer, Progress):
    """In place of a writer of metrics, and of a bar."""

    def __init__(self):
        self.rows, self.shown = [], []

    def write(self, row):
        self.rows.append(row)

    def advance(self, done, note=""):
        self.shown.append((done, note))


def standing(step, stopped_at=-1, taken=5):
    at = (np.array([of]) for of in (step, -1, stopped_at))
    return Standing(step, *at, np.array([stopped_at < 0]), taken, 1.0)


def test_a_step_has_the_time_of_one(monkeypatch):
    """Catches the time of a whole stretch, or since the start, as that of a step."""
    times = iter([100.0, 110.0, 112.0])
    monkeypatch.setattr(run_callbacks, "time", types.SimpleNamespace(monotonic=times.__next__))
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
    callbacks.advance(standing(0, taken=0))
    callbacks.record(TRAIN | {"step": 5})
    callbacks.record({"split": "dev", "accuracy": 0.25, "step": 5})
    callbacks.advance(standing(5))
    assert heard.shown == [(5, "loss 0.500, dev accuracy 25.0%")]
    assert "target" not in capsys.readouterr().err
    callbacks.advance(standing(10, stopped_at=10))
    assert "the target of 90.0% on dev documents is reached at step 10" in capsys.readouterr().err
