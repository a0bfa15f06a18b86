"""Where metrics go: two files always, and trackers that must not cost a run."""

import csv
import json
import os

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.store.metrics import (
    CommaSeparated,
    JsonLines,
    Writer,
    Writers,
    by_member,
    dev_rows,
    forget_after,
    last_dev,
    open_writers,
    read_rows,
    rise,
    write_rows,
)
from mecheval_jax.store.trackers import TRACKERS

TRAIN = {"step": 10, "split": "train", "loss": 2.5, "accuracy": 0.25, "seconds_per_step": 0.1}

DEV = {"step": 10, "split": "dev", "loss": 2.25, "accuracy": 0.5}


def test_files_hold_the_same_rows(tmp_path):
    """Catches a header that depends on the first row, and cells in the wrong column."""
    with open_writers([], tmp_path) as writer:
        writer.write(TRAIN)
        writer.write(DEV)
    assert (tmp_path / "metrics.csv").read_text() == (
        "step,split,loss,accuracy,seconds_per_step\n10,train,2.5,0.25,0.1\n10,dev,2.25,0.5,\n"
    )
    assert read_rows(tmp_path / "metrics.jsonl") == [TRAIN, DEV]


def test_the_last_evaluation_on_dev_documents():
    """Catches the last row of training, and the first evaluation."""
    later = DEV | {"step": 20, "accuracy": 0.75}
    assert last_dev([DEV, TRAIN, later, TRAIN]) == later
    assert last_dev([TRAIN]) == {}


def test_members_have_a_column(tmp_path):
    """Catches rows of a sweep whose member is lost."""
    with open_writers([], tmp_path, members=True) as writer:
        writer.write(DEV | {"member": 3})
    with (tmp_path / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert list(row) == ["step", "split", "member", "loss", "accuracy", "seconds_per_step"]
    assert row["member"] == "3"
    alone = CommaSeparated(tmp_path / "alone.csv")
    with pytest.raises(ValueError, match="member"):
        alone.write(DEV | {"member": 3})
    alone.close()


def test_rows_that_somebody_has_edited(tmp_path):
    """Catches a field that is added by hand and ends every resumed run, a row of a group without
    its member, and a number that no float holds."""
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text(json.dumps(DEV | {"note": "mine"}) + "\n")
    with open_writers([], tmp_path) as writer:
        writer.write(DEV | {"step": 20})
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 3
    with pytest.raises(UserError, match="line 1 is no row of a member"):
        open_writers([], tmp_path, members=True)
    metrics.write_text(json.dumps(DEV | {"accuracy": 10**400}) + "\n")
    with pytest.raises(UserError, match="line 1 is no row"):
        read_rows(metrics)


def test_a_resumed_run_takes_no_row_twice(tmp_path):
    """Catches rows that stand twice in one of the files, and a torn line that swallows the next."""
    rows = [DEV | {"step": step} for step in (10, 20, 30)]
    with open_writers([], tmp_path) as writer:
        for row in rows:
            writer.write(row)
    for name in ("metrics.jsonl", "metrics.csv"):
        with (tmp_path / name).open("a") as file:
            file.write('{"step": 4' if name.endswith("l") else "40,de")
    forget_after(tmp_path / "metrics.jsonl", 20)
    with open_writers([], tmp_path) as writer:
        writer.write(DEV | {"step": 25})
    steps = [10, 20, 25]
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == steps
    with (tmp_path / "metrics.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == steps


def test_metrics_that_are_gone_are_told(tmp_path, capsys):
    """Catches a run that goes on with half of its curves, and says nothing."""
    path = tmp_path / "metrics.jsonl"
    forget_after(path, 0)  # a run that begins has none
    with open_writers([], tmp_path):
        forget_after(path, 20)  # none was written so far
    assert not capsys.readouterr().err
    path.unlink()
    forget_after(path, 2000)
    assert f"warning: {path} is gone, with the curves up to step 2,000" in capsys.readouterr().err


@pytest.mark.parametrize("last", [b"[1]", b'{"step": ' + b"9" * 5000 + b"}", b"[" * 20_000])
def test_a_whole_line_is_a_row(last, tmp_path):
    """Catches a damaged last line that is taken for one which a kill has cut off."""
    path = tmp_path / "metrics.jsonl"
    with open_writers([], tmp_path) as writer:
        writer.write(DEV)
    whole = path.read_bytes()
    path.write_bytes(whole + last)
    assert read_rows(path) == [DEV]
    path.write_bytes(whole + last + b"\n")
    with pytest.raises(UserError, match="line 2 is no row"):
        read_rows(path)


def test_rows_of_a_group_are_of_its_members(tmp_path):
    """Catches a row of a run among those of a sweep, which nobody could draw."""
    path = tmp_path / "metrics.jsonl"
    write_rows(path, [DEV | {"member": 1}, DEV | {"member": 0}, DEV | {"member": 1, "step": 25}])
    found = by_member(read_rows(path, members=range(2)))
    assert {name: [row["step"] for row in rows] for name, rows in found.items()} == {
        1: [DEV["step"], 25],
        0: [DEV["step"]],
    }
    with pytest.raises(UserError, match="line 1 is no row of a member"):
        read_rows(path, members=range(1))
    write_rows(path, [DEV])
    assert read_rows(path) == [DEV]
    with pytest.raises(UserError, match="line 1 is no row of a member"):
        dev_rows(path, range(1))


def test_every_row_is_on_the_disk_at_once(tmp_path):
    """Catches a buffer that a kill would lose."""
    writer = open_writers([], tmp_path)
    writer.write(DEV)
    for name in ("metrics.jsonl", "metrics.csv"):
        assert (tmp_path / name).read_text().splitlines()[-1].count("0.5") == 1
    writer.close()


class Failing:
    """A tracker whose service goes away after so many rows."""

    def __init__(self, rows):
        self.left, self.calls = rows, 0

    def write(self, values):
        del values
        self.calls += 1
        self.left -= 1
        if self.left < 0:
            raise ConnectionError("no route\nto host")

    def close(self, completed=True):
        raise ConnectionError("still none")


def test_a_tracker_that_fails_costs_no_row(tmp_path, capsys):
    """Catches a run lost for its curves, and a warning for every row."""
    failing, closing = Failing(1), Failing(9)
    files = (JsonLines(tmp_path / "metrics.jsonl"),)
    assert isinstance(failing, Writer)
    with Writers(files, {"wandb": failing, "mlflow": closing}) as writer:
        for step in range(4):
            writer.write(DEV | {"step": step})
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 4
    assert failing.calls == 2
    said = capsys.readouterr().err
    assert said.count("warning: wandb failed") == 1
    assert "(no route to host)" in said
    assert said.count("warning: mlflow failed") == 1


def test_a_tracker_that_does_not_start_costs_no_run(tmp_path, monkeypatch, capsys):
    """Catches a preempted run that is not resumed while a service is away."""

    def refuse(folder, step):
        raise ConnectionError("refused")

    refuse.package = "json"
    monkeypatch.setitem(TRACKERS, "wandb", refuse)
    with open_writers(["wandb"], tmp_path) as writer:
        writer.write(DEV)
    assert "wandb failed" in capsys.readouterr().err
    assert read_rows(tmp_path / "metrics.jsonl") == [DEV]


@pytest.mark.parametrize("name", ["metrics.jsonl", "metrics.csv"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused(name, make, tmp_path):
    """Catches a run that waits for ever for somebody to read a pipe."""
    make(tmp_path / name)
    with pytest.raises(
        UserError, match=rf"{name} cannot be (read|written): it is (no file|a folder)"
    ):
        open_writers([], tmp_path)


def test_a_full_disk_is_an_error(tmp_path):
    """Catches a run that goes on without a record of it."""

    class Full(CommaSeparated):
        def write(self, values):
            raise OSError("no space left")

    writer = Writers((Full(tmp_path / "metrics.csv"),), {})
    with pytest.raises(OSError, match="no space"):
        writer.write(DEV)


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([0.2, 0.3, 0.9, 1.0], (20, 30)),
        ([0.9, 1.0], (0, 10)),  # before the first evaluation
        ([0.2, 0.9, 0.3, 0.8, 0.8], (30, 40)),  # it fell once, and rose for good later
        ([0.2, 0.25], None),  # never above the floor
        ([0.9, 0.1], None),
        ([], None),
    ],
)
def test_when_a_training_rose(accuracies, expected):
    """Catches a first peak taken for the transition, and one of a run that has not learned."""
    rows = [{"step": 10 * (i + 1), "accuracy": each} for i, each in enumerate(accuracies)]
    assert rise(rows, 0.25) == expected
