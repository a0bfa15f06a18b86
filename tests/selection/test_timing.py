"""Steps are measured before anything is planned."""

import dataclasses
import json

import pytest

from configs import documents as config
from mecheval_jax.errors import UserError
from mecheval_jax.selection import timing
from mecheval_jax.selection.documents import fitted
from mecheval_jax.selection.request import ChoiceRequest
from mecheval_jax.selection.timing import (
    measure_steps,
    options_of,
    step_options,
    tokens_of_documents,
)
from tests.support import document_lines, small

ASKED = ChoiceRequest(small.experiment(small.ONE_LAYER), mixers=("based",))


def test_a_step_has_the_documents_of_the_training():
    """Catches a step of another size, whose time says nothing of the runs."""
    how = options_of(ASKED)
    assert how.tokens == 8 * ASKED.length
    assert how.lengths == ASKED.lengths


def test_a_step_has_the_length_of_the_training():
    """Catches a plan from the time of a step at the length at which costs are asked."""
    experiment = small.experiment({"task.pairs": 6, "model.max_length": 32})
    long = ChoiceRequest(experiment, mixers=("based",), length=2048)
    how, task = step_options(long), experiment.task
    assert how.lengths == (task.read_length,)
    assert how.tokens == experiment.training.batch_size * task.read_length
    assert how.programs == ("training",)
    assert options_of(long).lengths[0] == 2048
    # What is about as long is measured once, for the plan and for the costs.
    near = dataclasses.replace(long, length=task.read_length + 1)
    assert step_options(near).lengths == (task.read_length + 1,)


def test_one_long_document_is_not_the_length_of_all(tmp_path):
    """Catches a step of the longest document, which few batches have."""
    lines = list(document_lines.many(300))
    (first,) = json.loads(lines[0])["queries"]
    spans = {name: [place + 3000 for place in first[name]] for name in ("query", "key", "value")}
    text = "on " * 1000 + json.loads(lines[0])["text"]
    lines[0] = json.dumps({"text": text, "queries": [first | spans]})
    (tmp_path / "tail.jsonl").write_text("\n".join(lines))
    sections = config.get_config("steps=2000").to_dict()
    sections["task"]["path"] = str(tmp_path / "tail.jsonl")
    experiment = fitted(sections)
    found = tokens_of_documents(experiment)
    assert 6 < found < experiment.task.max_length / 2
    assert step_options(ChoiceRequest(experiment, mixers=("based",))).lengths == (found,)


def test_steps_and_compiling_are_told_apart():
    """Catches the compiler's time counted with every step."""
    how = dataclasses.replace(options_of(ASKED), lengths=ASKED.lengths[:1], programs=("training",))
    model = ASKED.experiment.model
    timings, rows = measure_steps({"its name": model}, how)
    (row,) = rows
    assert (row["batch"], row["program"]) == (8, "training")
    timing_of_it = timings[model.mixer, model.width]
    assert timing_of_it.step == row["seconds"]
    assert timing_of_it.compile > 10 * row["low"]


def test_no_further_step_is_measured_when_the_time_is_over(monkeypatch):
    """Catches a budget that goes into measuring alone."""
    row = {"length": 64, "seconds": 1e-3, "calls": 3, "width": 16}
    found = [row | {"model": name, "mixer": name} for name in ("attention", "based", "mamba")]
    monkeypatch.setattr(timing, "cost_rows", lambda *_: iter(found))
    monkeypatch.setattr(timing.time, "monotonic", iter([0.0, 20.0, 40.0]).__next__)
    timings, _ = measure_steps({}, options_of(ASKED), until=30.0)
    assert list(timings) == [("attention", 16), ("based", 16)]


def test_a_step_that_does_not_fit_is_a_user_error(monkeypatch):
    """Catches a traceback where a training step needs more memory than there is."""
    row = {"model": "attention", "length": 32768, "seconds": None, "calls": 0}
    row["reason"] = "its memory, 90 GB, is not there"
    monkeypatch.setattr(timing, "cost_rows", lambda *_: iter([row]))
    with pytest.raises(UserError, match=r"step of attention with 32,768 tokens.*90 GB"):
        measure_steps({"attention": ASKED.experiment.model}, options_of(ASKED))
