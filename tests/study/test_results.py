"""The study's tables of results."""

import json

import pandas as pd
import pytest

from configs.base import base
from mecheval_jax.errors import UserError
from mecheval_jax.experiment import Experiment
from mecheval_jax.study.results import (
    COLUMNS,
    config_hash,
    config_values,
    read_table,
    read_tables,
    regime,
    table_of,
    tabulate,
    write_table,
)
from tests.support.study_world import world
from tests.support.sweep_results import make_sweep


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


@pytest.fixture
def folder(tmp_path):
    """A sweep of one finished group and one that failed, with the members' run folders."""
    accuracies = {"based": {(1e-3, 0): 0.9, (1e-3, 1): 0.8}, "mamba": {(1e-3, 0): 0.5}}
    folder = make_sweep(tmp_path / "sweep", accuracies, unfinished=("mamba",))
    (group,) = (group for group in folder.groups() if group.has_table())
    for number, accuracy in enumerate((0.9, 0.8)):
        run = group.member(number)
        run.mkdir(parents=True)
        summary = {"accuracy": accuracy, "accuracy_low": accuracy - 0.1, "floors": {"best": 0.25},
                   "accuracy_high": 1.0, "verdict": "induction", "layer": 1,
                   "probabilities": {"induction": 0.9}}  # fmt: skip
        (run / "summary.json").write_text(json.dumps(summary))
        rows = [{"step": 1, "split": "train", "accuracy": 1.0},
                {"step": 1, "split": "dev", "accuracy": 0.7}]  # fmt: skip
        (run / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        places = [
            ("key", "restore", "attribution", 1, 0.1), ("value", "restore", "attribution", 1, 0.2),
            ("key", "damage", "attribution", 1, 0.3), ("key", "restore", "kl", 1, 0.4),
            ("key", "restore", "attribution", 0, 0.5),
        ]  # fmt: skip
        columns = ["corruption", "direction", "metric", "step", "value"]
        table = pd.DataFrame(places, columns=columns)
        table = table.assign(site="block_1/block_input", role="value", low=0.0, high=1.0)
        table.to_csv(run / "interchange.csv", index=False)
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


def test_a_member_without_its_summary(folder):
    """Catches a row that is left out in silence."""
    next(folder.path.glob("groups/*/members/0001/summary.json")).unlink()
    with pytest.raises(UserError, match=r"0001 is damaged.*without summary\.json"):
        tabulate(folder.path)


def test_written_and_read_again(tmp_path):
    """Catches values that CSV changes, and a table that takes the hash of another."""
    part = world().iloc[:5].assign(regime="1234e567", config_hash="00012345")
    for name in ("a.csv", "b.csv"):
        write_table(tmp_path / name, part)
    for name in ("a.csv", "b.csv"):
        again = read_table(tmp_path / name)
        columns = ["accuracy", "option", "task", "regime", "config_hash"]
        assert list(again.columns) == list(COLUMNS)
        pd.testing.assert_frame_equal(
            again[columns], part[columns], rtol=1e-5,
            check_dtype=False,
        )  # fmt: skip
    write_table(tmp_path / "c.csv", again)
    assert (tmp_path / "c.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


def test_a_member_in_two_tables(tmp_path):
    """Catches a row of answers that hides one with interventions, and members counted twice."""
    part = world().iloc[:3]
    unmeasured = part.drop(columns="verdict").assign(verdict=None)
    write_table(tmp_path / "a.csv", table_of(unmeasured.to_dict("records")))
    write_table(tmp_path / "b.csv", part.iloc[1:])
    rows = read_tables(sorted(tmp_path.glob("*.csv")))
    assert sorted(rows["width"]) == sorted(part["width"])
    assert rows["verdict"].notna().sum() == len(part.iloc[1:])
    assert read_tables([]).empty


def test_a_table_that_was_edited(tmp_path):
    """Catches results that were changed by hand."""
    path = tmp_path / "a.csv"
    write_table(path, world().iloc[:2])
    path.write_text(path.read_text().replace("attention", "mamba", 1))
    with pytest.raises(UserError, match=r"a\.csv was edited"):
        read_table(path)
    (tmp_path / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match="no hash"):
        read_table(path)
    with pytest.raises(UserError, match="no results table"):
        read_table(tmp_path / "none.csv")
