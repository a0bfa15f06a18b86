"""Evidence of a run: over its checkpoints, and pooled with that of other seeds."""

import csv
import json

import pytest

from mecheval_jax import runs
from mecheval_jax.errors import UserError
from mecheval_jax.experiment import Experiment
from tests.support import small
from tests.support.fabricated import INDUCED, evidence_on

ALL_KEPT = small.ONE_LAYER | {"evaluation.roles": ("key", "value", "query")}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two seeds with all of their checkpoints."""
    made = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp("seeds") / f"seed_{seed}"
        experiment = small.experiment(ALL_KEPT, seed=seed, checkpoint_every=5, keep_checkpoints=0)
        runs.train(experiment, folder)
        made.append(folder)
    return made


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_kept_checkpoint_has_its_rows(folders):
    """Catches the newest checkpoint read for all steps, and a summary of another step's verdict."""
    folder = folders[0]
    assert runs.kept_steps(folder) == [5, 10, 15, 20]
    table, verdict = runs.intervene(folder, steps="all")
    assert list(table["step"].unique()) == [5, 10, 15, 20]
    assert verdict.verdict == "not_learned"
    assert {int(row["step"]) for row in read(folder / "controls.csv")} == {5, 10, 15, 20}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["evidence_step"] == 20
    over = summary["over_training"]
    assert [row["step"] for row in over["steps"]] == [5, 10, 15, 20]
    assert over["transitions"] == []
    assert read(folder / "transitions.csv") == []
    losses = table[(table["metric"] == "clean_probability") & (table["role"] == "key")]
    assert losses.groupby("step")["value"].first().nunique() == 4
    accuracy = summary["accuracy"]
    # An earlier step alone: its rows, its verdict, but not its accuracy as the run's.
    table, _ = runs.intervene(folder, steps=[5])
    assert list(table["step"].unique()) == [5]
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["evidence_step"], summary["accuracy"]) == (5, accuracy)
    assert summary["over_training"] is None
    assert not (folder / "transitions.csv").exists()


def test_as_many_checkpoints_are_kept_as_were_asked_for(tmp_path):
    """Catches a config field that changes nothing."""
    experiment = small.experiment(small.ONE_LAYER, checkpoint_every=5, keep_checkpoints=3)
    runs.train(experiment, tmp_path / "run")
    assert runs.kept_steps(tmp_path / "run") == [10, 15, 20]
    runs.load(tmp_path / "run")
    assert runs.kept_steps(tmp_path / "run") == [10, 15, 20]  # reading throws nothing away
    with pytest.raises(UserError, match=r"unknown step '5'.*10, 15, 20"):
        runs.intervene(tmp_path / "run", steps=[5])
    with pytest.raises(UserError, match="keep_checkpoints is -1"):
        small.experiment(keep_checkpoints=-1)


def test_an_older_config_has_the_default(tmp_path):
    """Catches a run of an earlier version that is taken for another experiment's."""
    folder = runs.RunFolder(tmp_path / "run")
    folder.open(small.experiment())
    values = json.loads(folder.config.read_text())
    del values["training"]["keep_checkpoints"]
    folder.config.write_text(json.dumps(values))
    folder.open(small.experiment())
    assert Experiment.from_config(values) == small.experiment()


def test_seeds_are_pooled(folders):
    """Catches a pool of a run with itself, and a run without evidence passed over."""
    with pytest.raises(UserError, match=r"launch\.intervene --workdir=.* measures anew"):
        runs.pool(folders)
    for folder in folders:
        runs.intervene(folder)
    with pytest.raises(UserError, match="learned the task are: none"):  # twenty steps teach nothing
        runs.pool(folders)
    learned = [evidence_on(INDUCED, correct=1.0), evidence_on(INDUCED, correct=1.0)]
    for folder, evidence in zip(folders, learned, strict=True):
        evidence.write(folder / "evidence.npz")
    verdict, each = runs.pool(folders)
    assert {one.verdict for one in each.values()} == {verdict.verdict}
    assert (verdict.verdict, verdict.evidence["runs"]) == ("induction", 2)
    with pytest.raises(UserError, match="two runs or more"):
        runs.pool([folders[0], folders[0]])


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("training.seed", 0, "same seeds"),
        ("training.learning_rate", 0.5, "training.learning_rate is 0.5"),
        ("evaluation.confidence", 0.9, "evaluation.confidence is 0.9"),
    ],
)
def test_what_is_no_population_is_refused(tmp_path, field, value, words):
    """Catches a copy of a run counted twice, and settings averaged over as if they were seeds."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for seed, folder in enumerate(folders):
        experiment = small.experiment(small.ONE_LAYER, seed=seed)
        runs.RunFolder(folder).open(experiment)
        evidence_on(INDUCED, correct=1.0).write(folder / "evidence.npz")
    values = json.loads((folders[1] / "config.json").read_text())
    group, name = field.split(".")
    values[group][name] = value
    (folders[1] / "config.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=words):
        runs.pool(folders[::-1])


def test_other_documents_leave_the_runs_own_accuracy(folders):
    """Catches the accuracy of a handful of documents in place of the trained run's."""
    before = json.loads((folders[0] / "summary.json").read_text())
    runs.intervene(folders[0], documents=5)
    after = json.loads((folders[0] / "summary.json").read_text())
    names = ("accuracy", "accuracy_low", "documents", "asked")
    assert [after[name] for name in names] == [before[name] for name in names]
    assert after["evidence"]["accuracy_high"] != before["accuracy_high"]
