"""Choices from end to end, broken off and gone on with."""

import dataclasses
import json
import time

import pytest

from configs import documents
from mecheval_jax.errors import Stopped, TimeIsOver, UserError
from mecheval_jax.experiment import Experiment
from mecheval_jax.fields import LARGEST_SEED
from mecheval_jax.files import read_json, read_table
from mecheval_jax.selection import opening, run
from mecheval_jax.selection.deadline import Deadline
from mecheval_jax.selection.plan import Size, Timing, sweep_of
from mecheval_jax.selection.request import MULTIPLES, ChoiceRequest
from mecheval_jax.store.choice import ABSTAINED, UNFINISHED, ChoiceFolder
from mecheval_jax.store.sweep_folder import GroupStatus
from mecheval_jax.sweeps.plan import open_folder, plan_of
from mecheval_jax.sweeps.run import SweepOutcome
from mecheval_jax.training.config import TrainingConfig
from tests.selection.conftest import ARGUMENTS
from tests.support import document_lines, forked


def test_what_a_choice_leaves(finished, asked):
    """Catches a stage that is left out, and a table that is not of this sweep."""
    folder, advice = finished
    assert advice.state == ABSTAINED  # ten steps teach nothing
    assert folder.read_advice() == advice
    (row,) = folder.read_choice().to_dict("records")
    assert (row["mixer"], row["width"], row["members"], row["runs"]) == ("based", 16, 2, 2)
    assert row["length"] == asked.length
    costs = read_table(folder.cost.costs)
    assert len(costs) == 3 * len(MULTIPLES)
    assert set(costs["model"]) == {"based, width 16"}
    here = costs[(costs["length"] == asked.length) & (costs["program"] == "training")]
    assert row["training_tokens_per_second"] == here["tokens_per_second"].item()
    plan = read_json(folder.plan)
    assert plan["lengths"] == list(asked.lengths)
    assert plan["step_seconds"].keys() == {"based, width 16"}
    assert folder.report.exists()


def test_a_finished_choice_is_not_made_again(finished, asked, monkeypatch):
    """Catches runs that are trained twice, and costs that are measured twice."""
    folder, advice = finished
    before = {path: path.stat().st_mtime_ns for path in folder.path.glob("groups/*/*/0000/*")}
    costs = read_table(folder.cost.costs)
    monkeypatch.setattr(opening, "measure_steps", None)  # which would be called of a new one
    assert run.choose_architecture(asked, folder.path, ARGUMENTS).advice == advice
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert read_table(folder.cost.costs).equals(costs)


def test_another_choice_in_its_folder_is_refused(planned, asked):
    """Catches runs of two questions in one table."""
    longer = dataclasses.replace(asked.experiment.training, steps=20)
    others = {
        r"another task, .* or evaluation \(training.steps is 10 there and 20 here\)": {
            "experiment": dataclasses.replace(asked.experiment, training=longer)
        },
        r"another task.*evaluation.confidence is 0.95 there and 0.5 here": {
            "experiment": asked.experiment.with_evaluation(confidence=0.5)
        },
        "the architectures based": {"mixers": ("attention",)},
        "--widths=16": {"widths": (8,)},
        "--learning_rates=": {"rates": (0.5,)},
        "--seeds=2:": {"seeds": 1},
        "--seeds=2: take": {"seeds": 3},
        "--widths=16, without 32": {"widths": (16, 32)},
        "--learning_rates=0.01, without 0.5": {"rates": (1e-2, 0.5)},
    }
    for what, changes in others.items():
        with pytest.raises(UserError, match=f"holds a choice of {what}"):
            run.choose_architecture(dataclasses.replace(asked, **changes), planned.path)


def test_costs_at_another_length(planned, asked):
    """Catches a plan that says what was asked for the first time, beside a table of the second."""
    asked = dataclasses.replace(asked, length=2 * asked.length, cheapest="state", budget=1e-3)
    run.choose_architecture(asked, planned.path, ARGUMENTS)
    plan = planned.read_plan()
    assert (plan["length"], plan["cheapest"]) == (asked.length, "state")
    assert plan["lengths"] == list(asked.lengths)


def test_what_documents_lack_is_refused_before_a_plan(tmp_path, monkeypatch):
    """Catches minutes of measurements and a plan that no run can follow, after which the command
    that asks for what there is would be one of another choice."""
    lines = []
    for i in range(300):
        key, value = i % 2, i % 3
        asked = {"query": 3, "answer": 10 + value, "key": 1, "value": 2}
        if not i % 50:
            del asked["value"]
        lines.append(json.dumps({"tokens": [i, key, 10 + value, key], "queries": [asked]}))
    sections = documents.get_config("tokenizer=ids,steps=10,width=8").to_dict()
    sections["task"]["path"] = document_lines.write(tmp_path, *lines)
    for section, field in (("evaluation", "documents"), ("training", "evaluation_documents")):
        sections[section][field] = 16
    request = ChoiceRequest(Experiment.from_config(sections), mixers=("based",))
    monkeypatch.setattr(opening, "measure_steps", None)
    with pytest.raises(UserError, match=r"no corruption 'value', since .* line 1 of"):
        run.choose_architecture(request, tmp_path / "new")
    assert not ChoiceFolder(tmp_path / "new").sweep.exists()


def test_runs_that_cannot_be_are_refused_before_a_plan(asked, tmp_path, monkeypatch):
    """Catches a last seed and a second rate that are refused when every step was measured."""
    monkeypatch.setattr(opening, "measure_steps", None)
    training = dataclasses.replace(asked.experiment.training, seed=LARGEST_SEED)
    last = dataclasses.replace(asked.experiment, training=training)
    for changes, message in (
        ({"experiment": last}, f"training.seed is {LARGEST_SEED + 1}"),
        ({"rates": (1e-2, 1.00000001e-2)}, "members 0 and 2 are the same run"),
    ):
        with pytest.raises(UserError, match=message):
            run.choose_architecture(dataclasses.replace(asked, **changes), tmp_path / "new")


def test_a_mixer_that_is_broken_is_refused_before_a_plan(asked, tmp_path, monkeypatch):
    """Catches a traceback from the first measurement for a user's own mixer."""
    monkeypatch.setattr(opening, "measure_steps", None)
    mixers = ("based", "tests.support.broken_mixers:Failing")
    with pytest.raises(UserError, match=r"model\.mixer 'tests.*:Failing' \(layer 0\): "):
        run.choose_architecture(dataclasses.replace(asked, mixers=mixers), tmp_path / "new")


@pytest.fixture
def planned(asked, tmp_path):
    """A choice that was killed before its first step."""
    folder = ChoiceFolder(tmp_path / "planned")
    of_width = {mixer: Timing(0.01, 1.0) for mixer in asked.mixers}
    timings = dict.fromkeys(asked.widths, of_width)
    open_folder(folder, sweep_of(asked, Size(asked.widths, asked.rates, asked.seeds), timings))
    folder.write_plan({"asked": asked.asked})
    return folder


def test_a_budget_ends_in_advice(planned, asked):
    """Catches a budget that is overrun, and one whose end is an error."""
    hurried = dataclasses.replace(asked, budget=1e-3)
    advice = run.choose_architecture(hurried, planned.path, ARGUMENTS).advice
    assert advice.state == ABSTAINED
    assert advice.further_runs[0].command.endswith(" ".join(ARGUMENTS))
    (row,) = planned.read_choice().to_dict("records")
    assert row["state"] == UNFINISHED


def test_groups_that_failed_are_told(planned, asked, monkeypatch):
    """Catches a choice whose trainings failed that passes for one that is not finished."""
    failed = SweepOutcome({"000_based_width_16": RuntimeError("no such device")})
    monkeypatch.setattr(run, "_trained", lambda *_: failed)
    made = run.choose_architecture(dataclasses.replace(asked, budget=1e-3), planned.path)
    assert made.outcome is failed
    (answer, *_) = made.advice.paragraphs
    assert "(based of width 16, which failed: no such device)" in answer.text


def test_groups_that_failed_before_the_time_was_over_are_told(planned, asked, monkeypatch):
    """Catches code 0 of a choice in which a group failed and the next was stopped by the clock."""

    def stopped(sweep, path, *_, **__):
        failed = GroupStatus(state="failed", error="no such device")
        planned.group(sweep.groups[0].name).write_status(failed)
        raise TimeIsOver

    monkeypatch.setattr(run, "run_sweep", stopped)
    made = run.choose_architecture(dataclasses.replace(asked, budget=1e-3), planned.path)
    assert str(made.outcome.failed["000_based_width_16"]) == "no such device"
    assert "(based of width 16, which failed: no such device)" in made.advice.paragraphs[0].text


@pytest.mark.parametrize(
    ("train", "batches", "documents", "epochs"),
    [
        (None, None, None, None),
        (None, 5, 40, 4.0),
        (None, 20, None, None),  # each is read once
        (64, None, 64, 2.5),
        (64, 5, 40, 4.0),
        (64, 10, 64, 2.5),
    ],
)
def test_how_often_documents_are_read(train, batches, documents, epochs):
    """Catches passes over a whole file told of a training that replays a part of it."""
    training = TrainingConfig(steps=20, batch_size=8, training_batches=batches)
    assert run.read_again(training, train) == (documents, epochs)


FAILING = """
import runpy, sys
from mecheval_jax.errors import UserError
from mecheval_jax.reporting.terminal import choice
from mecheval_jax.selection import run
from mecheval_jax.store.choice import ChoiceFolder
from mecheval_jax.sweeps.run import SweepOutcome
error = {"fault": RuntimeError("see log"), "mistake": UserError("no room")}[sys.argv.pop()]
run.choose_architecture = lambda *_: run.Choice(None, SweepOutcome({"a": error}))
ChoiceFolder.read_choice = lambda _: None
choice.show_choice = lambda *_: print("the advice", flush=True)
runpy.run_module("launch.choose", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(("kind", "code"), [("fault", 1), ("mistake", 2)])
def test_how_a_choice_with_failures_ends(kind, code, tmp_path):
    """Catches code 0 of a choice of which a part was not trained."""
    command = ["recall:smoke=True", f"--workdir={tmp_path / 'new'}", kind]
    done = forked.start(["-c", FAILING, *command])
    assert done.returncode == code, done.stderr
    assert "the advice" in done.stdout


def test_a_measurement_without_memory_is_left_out(planned, asked, capsys):
    """Catches advice that is lost, when all is trained, for the memory of a picture beside it."""
    sweep = plan_of(planned.read(), planned.sweep)
    clock = Deadline(time.monotonic(), None)

    def too_large(group):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")

    run._measured(too_large, planned, sweep, clock)
    assert "there is no memory to measure it" in "".join(capsys.readouterr())

    def broken(group):
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        run._measured(broken, planned, sweep, clock)


@pytest.mark.parametrize("budget", [None, 3600.0, 1e-3])
def test_sigterm_is_no_end_of_a_budget(planned, asked, budget, monkeypatch):
    """Catches a stopped program that goes on for minutes, with advice on half a table."""

    def stopped(*_, **__):
        raise Stopped

    monkeypatch.setattr(run, "run_sweep", stopped)
    with pytest.raises(Stopped):
        run.choose_architecture(dataclasses.replace(asked, budget=budget), planned.path)
    assert not planned.advice.exists()
