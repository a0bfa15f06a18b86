"""The folder of a run: whose it is, and what survives a cut."""

import json
import re
import tempfile

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.files import write_json
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.tasks.example import Example, ExampleQuestion
from tests.support import small
from tests.support.reported_runs import SUMMARY, TRAINING, make_run


def test_another_config_is_refused_by_name(tmp_path):
    """Catches a run that goes on in, or overwrites, another's folder."""
    folder = RunFolder(tmp_path / "run")
    folder.open(small.experiment())
    folder.open(small.experiment({"evaluation.documents": 17}))  # the model is the same
    with pytest.raises(UserError, match=r"model.width is 16 there and 32 here"):
        folder.open(small.experiment({"model.width": 32}))


def test_all_fields_that_differ_are_named(tmp_path):
    """Catches a message that leaves the user to compare two files."""
    folder = RunFolder(tmp_path / "run")
    folder.open(small.experiment())
    other = small.experiment({"model.mixer": "based", "task.min_pairs": 1}, learning_rate=0.5)
    with pytest.raises(UserError) as caught:
        folder.open(other)
    for difference in (
        "model.mixer is 'attention' there and 'based' here",
        "task.min_pairs is None there and 1 here",
        "training.learning_rate is 0.001 there and 0.5 here",
    ):
        assert difference in str(caught.value)
    assert folder.experiment() == small.experiment()


def test_answers_to_another_evaluation_are_not_its_own(tmp_path):
    """Catches answers of one evaluation that stand for good under the config of another, since the
    process was killed between the two files."""
    folder, other = RunFolder(tmp_path / "run"), small.experiment({"evaluation.documents": 17})
    folder.open(small.experiment())
    folder.update_summary(finished=True, step=3)
    folder.begin_measuring(small.experiment())
    assert folder.measured_at(small.experiment()) == 3
    folder.begin_measuring(other)  # killed here, before there are other answers
    assert folder.measured_at(other) is folder.measured_at(small.experiment()) is None
    assert folder.experiment().evaluation == other.evaluation


def test_summary_grows(tmp_path):
    """Catches an accuracy that is lost when the verdict is added."""
    folder = RunFolder(tmp_path)
    assert folder.read_summary() == {}
    folder.update_summary(accuracy=0.5)
    assert folder.update_summary(verdict="induction") == {"accuracy": 0.5, "verdict": "induction"}
    folder.summary.write_text("{")
    with pytest.raises(UserError, match="damaged"):
        folder.read_summary()


def test_what_is_no_run_is_left_alone(tmp_path):
    """Catches files of somebody else's that end up among a run's."""
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="not empty and holds no run"):
        RunFolder(tmp_path).open(small.experiment())
    with pytest.raises(UserError, match="is a file"):
        RunFolder(tmp_path / "thesis.tex").open(small.experiment())
    with pytest.raises(UserError, match="no run"):
        RunFolder(tmp_path).experiment()


def test_a_workdir_that_cannot_be_made(tmp_path):
    """Catches a traceback for a path below a file."""
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        RunFolder(tmp_path / "file" / "run").open(small.experiment())


def test_a_start_that_was_killed_can_be_repeated(tmp_path):
    """Catches a folder that is refused because a file in it was only half written."""
    (tmp_path / "config.json.part").write_text('{"task": ')
    folder = RunFolder(tmp_path)
    folder.open(small.experiment())
    assert folder.experiment() == small.experiment()


def test_metrics_that_were_cut_off(tmp_path):
    """Catches a broken last line that makes a run unreadable, and rows counted twice."""
    folder = RunFolder(tmp_path)
    rows = [{"step": step, "split": "train", "loss": 1.0} for step in (10, 20, 30)]
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4')
    assert folder.read_metrics() == rows
    folder.go_on("attention", 20)
    assert folder.read_metrics() == rows[:2]
    assert folder.metrics.read_text().count("\n") == 2
    folder.metrics.write_text('5\n{"step": 10, "split": "train"}\n')
    with pytest.raises(UserError, match=r"line 1 is no row"):
        folder.read_metrics()


def test_the_example_is_kept(tmp_path):
    """Catches roles at texts for positions, and a report that ends at a damaged example."""
    folder = RunFolder(tmp_path)
    assert folder.read_example() is None
    questions = (ExampleQuestion(0, 2, "k", "v"),)
    document = Example(("k", "<b>", "k", "v"), {0: ("key",), 2: ("query", "x")}, questions)
    folder.write_example(document)
    assert folder.read_example() == document
    whole = json.loads(folder.example.read_text())
    question = whole["questions"][0]
    for wrong in (
        {"words": "k"},
        {"roles": {"a": ["key"]}},
        {"roles": {"4": ["key"]}},
        {"roles": {"0": "key"}},
        {"questions": []},
        {"questions": [question | {"position": 4}]},
        {"questions": [question | {"other": 4}]},
    ):
        folder.example.write_text(json.dumps(whole | wrong))
        with pytest.raises(UserError, match=r"example\.json is damaged"):
            folder.read_example()


def test_a_run_that_is_trained_again_has_not_diverged(tmp_path):
    """Catches a status that says failed while the run goes on, and after its end."""
    folder = RunFolder(tmp_path)
    folder.update_summary(finished=False, diverged_at=7)
    folder.go_on("attention", 5)
    assert folder.read_summary()["diverged_at"] is None
    folder.update_summary(finished=True, step=9)
    assert folder.read_summary() == {"finished": True, "diverged_at": None, "step": 9}


def test_a_member_that_is_measured_again(tmp_path):
    """Catches changes of a verdict that is gone, and analyses that are thrown away."""
    folder = RunFolder(tmp_path / "0000")
    folder.analyses.mkdir(parents=True)
    for path in (folder.summary, folder.transitions, folder.report):
        path.write_text("{}")
    folder.open_as_member(small.experiment(), 0, 1, [])
    assert not folder.summary.exists()
    assert not folder.transitions.exists()
    assert folder.report.exists()
    assert folder.analyses.is_dir()


def test_a_member_that_was_copied_out_of_its_sweep():
    """Catches a traceback where the copy stands near the root, with no folders above it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        folder = RunFolder(path)
        folder.open(small.experiment())
        write_json(folder.member, {"place": 0, "of": 2})
        with pytest.raises(UserError, match="leave it in the folder of the sweep"):
            folder.experiment()


UNKNOWN = TRAINING["steps"][0] | {"probabilities": {}}
OPEN = TRAINING["transitions"][0] | {"low": None}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"floors": {"first": 0.2}}, "floors lacks 'best'"),
        ({"floors": {"best": None}}, "floors.best is None, and not a number"),
        ({"floors": {"best": 0.2, "first": None}}, "floors.first is None, and not a number"),
        ({"over_training": TRAINING | {"steps": [UNKNOWN]}}, "'not_learned' has no probability"),
        ({"over_training": TRAINING | {"transitions": [OPEN]}}, "transitions[0].low is None"),
        ({"verdict": None}, "verdict is None"),
    ],
)
def test_a_summary_of_which_no_report_can_be_made(tmp_path, changes, words):
    """Catches a report that ends in a traceback at a number that the summary lacks."""
    folder = RunFolder(make_run(tmp_path / "run", over_training=TRAINING))
    assert folder.read_summary()["over_training"] == TRAINING
    write_json(folder.summary, SUMMARY | changes)
    with pytest.raises(UserError, match=r"summary\.json is damaged: .*" + re.escape(words)):
        folder.read_summary()


def test_a_reason_without_a_verdict(tmp_path):
    """Catches a report that ends in a traceback at a verdict of which only the reason is left."""
    folder = RunFolder(make_run(tmp_path / "run"))
    left = {name: value for name, value in SUMMARY.items() if name != "verdict"}
    write_json(folder.summary, left | {"reason": "the value is restored"})
    with pytest.raises(
        UserError, match=r"it has the reason of a verdict, and no verdict; .*interv"
    ):
        folder.read_summary()
