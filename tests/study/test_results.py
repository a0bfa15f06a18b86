"""Rows of the study's results."""

import pandas as pd
import pytest

from configs.base import base
from configs.study import ar_laptop
from mecheval_jax.errors import UserError
from mecheval_jax.experiment import Experiment
from mecheval_jax.files import read_json, write_json
from mecheval_jax.study.results import config_hash, config_values, gap_of, regime, tabulate
from mecheval_jax.sweeps.plan import plan
from tests.support.compilation import ROOT
from tests.support.sweep_results import fill_members, make_sweep


def experiment(**changes):
    config = base()
    config.update_from_flattened_dict({f"training.{n}": v for n, v in changes.items()})
    return Experiment.from_config(config)


def test_what_a_row_is_known_by():
    """Catches members taken for the same, or for different ones by how often they are saved."""
    own = experiment()
    assert config_hash(experiment(keep_checkpoints=0)) == config_hash(own)
    assert config_hash(experiment(learning_rate=0.5)) != config_hash(own)
    assert regime(experiment(learning_rate=0.5)) == regime(own)
    assert regime(experiment(steps=7)) != regime(own)
    assert config_values(own)["task"] == "AR"


def test_hashes_of_tables_that_were_written_stay():
    """Catches hashes that change with a field that comes later: no row would be found again.

    The numbers are those of this program at the first table in docs/results. They may change only
    where the numbers of a member may, too, and then those tables are to be trained anew.
    """
    sweep = plan(ar_laptop.get_config(), ar_laptop.sweep())
    hashes = [config_hash(one) for one in sweep.groups[0].experiments]
    assert hashes == [
        "d4b7934ad1d2bec5", "4f22085a4dba55c0", "162c6402a3fbc1e2", "48cc86dfc1107e3b",
    ]  # fmt: skip
    # A field that a task gets belongs into `LATER_FIELDS`.
    written = pd.read_csv(ROOT / "docs" / "results" / "ar_laptop.csv")["regime"]
    assert {regime(one) for one in sweep.experiments} == set(written)


@pytest.fixture
def folder(tmp_path):
    """A sweep of one finished group and one that failed, with the members' run folders."""
    accuracies = {"based": {(1e-3, 0): 0.9, (1e-3, 1): 0.8}, "mamba": {(1e-3, 0): 0.5}}
    folder = make_sweep(tmp_path / "sweep", accuracies, unfinished=("mamba",))
    fill_members(folder, {0: 0.9, 1: 0.8})
    return folder


def test_a_sweep_as_a_table(folder):
    """Catches a cell of another corruption, direction, metric or step, and rows that are lost."""
    table = tabulate(folder.path)
    assert list(table["accuracy"]) == [0.9, 0.8]
    assert list(table["seed"]) == [0, 1]
    assert list(table["dev_accuracy"]) == [0.7, 0.7]
    assert list(table["block_1/block_input@value"]) == [0.1, 0.1]
    assert list(table["verdict"]) == ["induction"] * 2
    assert table["block_1/block_input@query"].isna().all()


def test_what_the_corruption_takes_away():
    """Catches the gap of another corruption or direction, and one that is not there."""
    kept = {"corruption": "key", "direction": "restore", "documents": 8}
    metrics = {"clean_probability": 0.75, "corrupted_probability": 0.25, "attribution": 9.0}
    rows = [kept | {"metric": metric, "value": value} for metric, value in metrics.items()]
    names = ("corruption", "direction")
    other = [row | {name: "value"} | {"value": 0.5} for row in rows for name in names]
    assert gap_of(pd.DataFrame([*other, *rows])) == 0.5
    assert gap_of(pd.DataFrame(rows[1:])) is None


def test_the_gap_of_all_documents():
    """Catches that of the documents alone which have some role, if that is measured first."""
    kept = {"corruption": "key", "direction": "restore"}
    rows = [
        kept | {"metric": metric, "documents": documents, "value": value}
        for documents, clean in ((5, 0.5), (8, 0.75), (3, 1.0))
        for metric, value in (("clean_probability", clean), ("corrupted_probability", 0.25))
    ]
    assert gap_of(pd.DataFrame(rows)) == 0.5


@pytest.mark.parametrize(
    "changes", [{"evidence_step": 1, "step": 20}, {"evidence_split": "dev"}], ids=str
)
def test_interventions_on_something_else(folder, changes):
    """Catches shares of an early step, or of dev documents, in the row of the finished run."""
    path = next(folder.path.glob("groups/*/members/0001/summary.json"))
    write_json(path, read_json(path) | changes)
    own = tabulate(folder.path).set_index("seed").loc[1]
    assert own["accuracy"] == 0.8
    assert pd.isna(own["verdict"])
    assert pd.isna(own["block_1/block_input@value"])


def test_a_member_without_its_summary(folder):
    """Catches a row that is left out in silence."""
    next(folder.path.glob("groups/*/members/0001/summary.json")).unlink()
    with pytest.raises(UserError, match=r"0001 is damaged.*without summary\.json"):
        tabulate(folder.path)
