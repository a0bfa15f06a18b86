"""Steps are measured before anything is planned."""

import dataclasses

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.selection import timing
from mecheval_jax.selection.request import ChoiceRequest
from mecheval_jax.selection.timing import measure_steps, options_of
from tests.support import small

ASKED = ChoiceRequest(small.experiment(small.ONE_LAYER), mixers=("based",))


def test_a_step_has_the_documents_of_the_training():
    """Catches a step of another size, whose time says nothing of the runs."""
    how = options_of(ASKED)
    assert how.tokens == 8 * ASKED.length
    assert how.lengths == ASKED.lengths


def test_steps_and_compiling_are_told_apart():
    """Catches the compiler's time counted with every step."""
    how = dataclasses.replace(options_of(ASKED), lengths=ASKED.lengths[:1], programs=("training",))
    timings, rows = measure_steps({"based": ASKED.experiment.model}, how)
    (row,) = rows
    assert (row["batch"], row["program"]) == (8, "training")
    assert timings["based"].step == row["seconds"]
    assert timings["based"].compile > 10 * row["low"]


def test_no_further_step_is_measured_when_the_time_is_over(monkeypatch):
    """Catches a budget that goes into measuring alone."""
    row = {"length": 64, "seconds": 1e-3, "calls": 3}
    found = [row | {"model": name} for name in ("attention", "based", "mamba")]
    monkeypatch.setattr(timing, "cost_rows", lambda *_: iter(found))
    monkeypatch.setattr(timing.time, "monotonic", iter([0.0, 20.0, 40.0]).__next__)
    timings, _ = measure_steps({}, options_of(ASKED), until=30.0)
    assert list(timings) == ["attention", "based"]


def test_a_step_that_does_not_fit_is_a_user_error(monkeypatch):
    """Catches a traceback where a training step needs more memory than there is."""
    row = {"model": "attention", "length": 32768, "seconds": None, "calls": 0}
    row["reason"] = "its memory, 90 GB, is not there"
    monkeypatch.setattr(timing, "cost_rows", lambda *_: iter([row]))
    with pytest.raises(UserError, match=r"step of attention with 32,768 tokens.*90 GB"):
        measure_steps({"attention": ASKED.experiment.model}, options_of(ASKED))
