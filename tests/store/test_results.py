"""What was found of runs, in the files of their folders."""

import json

import numpy as np
import pytest

from mecheval_jax.evaluation.subject import documents_of
from mecheval_jax.evaluation.verdict.measurement import Judged
from mecheval_jax.evaluation.verdict.verdict import judge_replicates
from mecheval_jax.files import read_json, read_table
from mecheval_jax.store.metrics import write_rows
from mecheval_jax.store.results import (
    MemberResult,
    record_answers,
    record_group,
    record_judged,
)
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import GroupFolder
from mecheval_jax.tasks.scoring import AnswerScores
from tests.support import small
from tests.support.fabricated import DIRECT, EVALUATION, evidence_on


@pytest.fixture(scope="module")
def batch():
    return documents_of(small.experiment())


def answers(batch, share, loss=0.5):
    """Answers to all queries, of which the first are right."""
    shape = batch.targets.shape
    right = (np.arange(np.prod(shape)) < share * np.prod(shape)).reshape(shape)
    same = np.full(shape, 0.25, np.float32)
    return AnswerScores(np.full(shape, loss, np.float32), same, same, right.astype(np.float32))


def measured(correct=0.95, accuracy=0.875):
    """What is found of a run that retrieves directly, if it answers enough."""
    evidence = evidence_on(DIRECT, correct=correct)
    verdict, replicates = judge_replicates(evidence, EVALUATION)
    row = {"site": "block_1/block_input", "role": "query", "metric": "attribution", "layer": 1}
    rows = [row | {"value": correct}]
    return Judged(rows, rows, {"accuracy": accuracy}, evidence, verdict, replicates)


def opened(path):
    folder = RunFolder(path)
    folder.open(small.experiment())
    return folder


def recorded(folder, found, **changes):
    return record_judged(folder, small.experiment(changes), found)


def test_answers_of_a_run_that_diverged_can_be_read(tmp_path, batch):
    """Catches a summary that is no JSON, and slices of other answers."""
    folder = opened(tmp_path / "run")
    scores = record_answers(folder, small.experiment(), 20, answers(batch, 0.5, np.nan), batch)
    assert np.isnan(scores["loss"])
    summary = json.loads(folder.summary.read_text(), parse_constant=pytest.fail)
    assert (summary["finished"], summary["step"], summary["loss"]) == (True, 20, None)
    assert (summary["accuracy"], summary["width"]) == (0.5, 16)
    sliced = read_table(folder.slices).query("property == 'length'")
    assert (sliced["accuracy"] * sliced["queries"]).sum() == 0.5 * sliced["queries"].sum()
    # Interventions measure the answers once more, and note them as well.
    found = measured()
    found.accuracy.update(accuracy=0.5, loss=np.nan, likelihood=np.nan)
    recorded(folder, {20: found})
    summary = json.loads(folder.summary.read_text(), parse_constant=pytest.fail)
    assert (summary["verdict"], summary["loss"]) == ("direct_retrieval", None)


def test_a_mechanism_that_appears_is_written_down(tmp_path):
    """Catches rows under another step, the first verdict as the run's, and an old transition."""
    folder = opened(tmp_path / "run")
    table, verdict = recorded(folder, {5: measured(0.2), 10: measured()})
    assert list(table["step"]) == [5, 10]
    assert list(read_table(folder.controls)["value"]) == [0.2, 0.95]
    assert verdict.verdict == "direct_retrieval"
    (change,) = read_table(folder.transitions).to_dict("records")
    assert (change["before"], change["value"]) == ("not_learned", 10)
    summary = folder.read_summary()
    assert (summary["verdict"], summary["evidence_step"]) == ("direct_retrieval", 10)
    over = [row["verdict"] for row in summary["over_training"]["steps"]]
    assert over == ["not_learned", "direct_retrieval"]
    recorded(folder, {10: measured()})
    assert folder.read_summary()["over_training"] is None
    assert not folder.transitions.exists()


def test_the_runs_accuracy_is_that_at_its_end(tmp_path):
    """Catches accuracy at an earlier step, or on other documents, as that of the trained run."""
    folder = opened(tmp_path / "run")
    recorded(folder, {20: measured(accuracy=0.5)})
    assert folder.read_summary()["accuracy"] == 0.5  # there was none
    folder.update_summary(step=20)
    recorded(folder, {10: measured(accuracy=0.1)})
    recorded(folder, {20: measured(accuracy=0.2)}, **{"evaluation.documents": 8})
    assert folder.read_summary()["accuracy"] == 0.5
    recorded(folder, {20: measured(accuracy=0.75)})
    assert folder.read_summary()["accuracy"] == 0.75


def test_a_task_without_keys_has_a_table_alone(tmp_path):
    """Catches evidence, or a verdict, of nothing."""
    folder = opened(tmp_path / "run")
    rows = measured().interchange
    table, verdict = recorded(folder, {20: Judged(rows, [], {"accuracy": 1.0}, None, None, [])})
    assert (len(table), verdict) == (1, None)
    assert not folder.controls.exists()
    assert not folder.evidence.exists()
    assert "verdict" not in folder.read_summary()


def test_members_of_a_group(tmp_path, batch):
    """Catches members that change places in checkpoints or metrics, and an event that is lost."""
    folder = GroupFolder(tmp_path / "groups" / "attention")
    folder.path.mkdir(parents=True)
    dev = {"step": 20, "split": "dev", "loss": 0.5}
    write_rows(folder.metrics, [dev | {"member": n, "accuracy": n / 10} for n in (7, 3)])
    results = [
        MemberResult(n, small.experiment(seed=n), batch, answers(batch, share), found, step, event)
        for n, share, found, step, event in (
            (3, 0.5, None, 12, {"diverged_at": 12}),
            (7, 1.0, measured(accuracy=1.0), 20, {}),
        )
    ]
    record_group(folder, 2, results)
    table = read_table(folder.table).set_index(["member", "metric"])
    assert [table["value"][n, "accuracy"] for n in (3, 7)] == [0.5, 1.0]
    assert [table["value"][n, "dev_accuracy"] for n in (3, 7)] == [0.3, 0.7]
    assert table["value"][3, "diverged_at"] == 12
    assert table["label"][7, "verdict"] == "direct_retrieval"
    assert (3, "verdict") not in table.index
    for place, n in enumerate((3, 7)):
        run = RunFolder(folder.member(n))
        assert read_json(run.member) == {"place": place, "of": 2}
        assert run.experiment() == small.experiment(seed=n)
        (row,) = (json.loads(line) for line in run.metrics.read_text().splitlines())
        assert row == dev | {"accuracy": n / 10}


def test_a_group_that_is_measured_again_is_not_finished(tmp_path, batch):
    """Catches the table of an earlier measurement beside members that a kill has left half."""
    folder = GroupFolder(tmp_path / "groups" / "attention")
    folder.path.mkdir(parents=True)
    write_rows(folder.metrics, [{"step": 20, "split": "dev", "member": 0, "accuracy": 0.5}])

    def results(fails):
        yield MemberResult(0, small.experiment(), batch, answers(batch, 0.5), None, 20, {})
        if fails:
            raise KeyboardInterrupt

    record_group(folder, 1, results(fails=False))
    assert folder.has_table()
    with pytest.raises(KeyboardInterrupt):
        record_group(folder, 1, results(fails=True))
    assert not folder.has_table()
