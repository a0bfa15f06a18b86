"""Costs of architectures as a folder of tables."""

import dataclasses
import re
import time

import pandas as pd
import pytest

from mecheval_jax import costs
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.cost.measure import CostOptions, cost_rows, keys_of
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.store.cost_folder import READ, CostFolder
from tests.support import forked

SMALL = ModelConfig("based", 1, 8, 16, 8, mixer_options={"kernel": 2})


def test_shapes_differ_in_their_mixers_alone():
    """Catches options of one mixer given to another, and attention without positions."""
    assert costs.models_of(SMALL, []) == {"based": SMALL}
    shapes = costs.models_of(SMALL, ["attention", "based"])
    assert shapes["based"].mixer_options == {"kernel": 2}
    assert shapes["attention"].positions == "learned"
    assert not shapes["attention"].mixer_options


def test_a_mixer_that_is_named_twice():
    """Catches a hybrid without quotes, which is measured as its parts in silence."""
    named = """a hybrid stands in quotes, --mixers='based,"mamba,attention"'"""
    with pytest.raises(UserError, match=re.escape(named)):
        costs.models_of(SMALL, ["attention", "based", "mamba", "based"])
    assert list(
        costs.models_of(dataclasses.replace(SMALL, layers=2), ["based", "based,attention"])
    ) == [
        "based",
        "based,attention",
    ]


def test_a_folder_of_tables(tmp_path):
    """Catches a table that is returned and not written, and a figure that is not drawn."""
    how = CostOptions(lengths=(8, 16), programs=("prefill",), tokens=16, repeats=2)
    table, crossed, machine = costs.measure(SMALL, ["attention", "based"], tmp_path, how)
    assert set(table["model"]) == {"attention", "based"}
    assert (tmp_path / "cost.csv").read_text() == table.to_csv(index=False)
    assert list(pd.read_csv(tmp_path / "crossovers.csv")["model"]) == list(crossed["model"])
    assert "| attention | 16 | prefill |" in (tmp_path / "cost.md").read_text()
    assert "| based | attention | prefill | seconds |" in (tmp_path / "crossovers.md").read_text()
    for name in ("cost", "crossovers"):
        assert r"\begin{table}" in (tmp_path / f"{name}.tex").read_text()
    assert machine["device"] in (tmp_path / "machine.json").read_text()
    assert (tmp_path / "cost.png").stat().st_size > 10_000


def test_a_folder_of_benchmarks_is_refused(tmp_path):
    """Catches rows of another machine beside this one's description."""
    (tmp_path / "machine.json").write_text("{}")
    (tmp_path / "benchmarks.csv").write_text("part\n")
    with pytest.raises(UserError, match=r"is not empty and holds no costs, but benchmarks\.csv"):
        costs.measure(SMALL, ["attention"], tmp_path, CostOptions())


def test_a_table_that_was_removed_is_measured_again(tmp_path):
    """Catches a folder that is refused after the advice for a damaged table was followed."""
    how = CostOptions(lengths=(8,), programs=("prefill",), tokens=16, repeats=2)
    costs.measure(SMALL, ["attention"], tmp_path, how)
    (tmp_path / "cost.csv").unlink()
    table, _, _ = costs.measure(SMALL, ["attention"], tmp_path, how)
    assert len(table) == 1


def test_a_mixer_that_is_broken(tmp_path):
    """Catches a traceback of a user's own mixer, and a folder that was made for nothing."""
    mixers = ["based", "tests.support.broken_mixers:Failing"]
    with pytest.raises(UserError, match=r"model\.mixer 'tests.*:Failing' \(layer 0\): "):
        costs.measure(SMALL, mixers, tmp_path / "new", CostOptions(lengths=(8,)))
    assert not (tmp_path / "new").exists()


def test_a_measurement_goes_on(tmp_path):
    """Catches what was measured measured again, and a time that is overrun."""
    shapes = costs.models_of(SMALL, ["based"])
    how = CostOptions(lengths=(8,), programs=("prefill",), tokens=8, repeats=1)
    first, _, machine = costs.continue_measuring(shapes, CostFolder(tmp_path), how)
    more = dataclasses.replace(how, lengths=(8, 16))
    over = costs.continue_measuring(shapes, CostFolder(tmp_path), more, until=time.monotonic())
    assert list(over[0]["length"]) == [8]
    whole, _, again = costs.continue_measuring(shapes, CostFolder(tmp_path), more)
    assert again == machine
    assert list(whole["length"]) == [8, 16]
    assert whole["seconds"][0] == first["seconds"][0]


def test_costs_of_two_machines_do_not_stand_in_one_table(tmp_path, monkeypatch, capsys):
    """Catches rows of a card and of a CPU held against each other."""
    shapes, folder = costs.models_of(SMALL, ["based"]), CostFolder(tmp_path)
    measured = {"mixer": "based", "width": 8, "layers": 1, "model": "based", "program": "prefill"}
    row = dict.fromkeys(READ) | measured | {"length": 8, "batch": 1}
    folder.write_costs(pd.DataFrame([row | TIMES | {"seconds": 1.0}]))
    folder.write_machine({"device": "NVIDIA H100", "platform": "gpu"})
    monkeypatch.setattr(costs, "machine", lambda: {"device": "here"})
    monkeypatch.setattr(costs, "draw", lambda _: None)
    monkeypatch.setattr(costs, "cost_rows", rows_without_measuring)
    how = CostOptions(lengths=(8,), programs=("prefill",), tokens=8)
    # Nothing is lacking, so that the table stays one of the other machine.
    assert costs.continue_measuring(shapes, folder, how)[2]["device"] == "NVIDIA H100"
    more = dataclasses.replace(how, lengths=(8, 16))
    over = costs.continue_measuring(shapes, folder, more, until=time.monotonic())
    assert list(over[0]["seconds"]) == [1.0]
    table, _, found = costs.continue_measuring(shapes, folder, more)
    assert found == folder.read_machine() == {"device": "here"}
    assert list(table["length"]) == [8, 16]
    assert list(table["seconds"]) == [0.5, 0.5]
    assert "are of NVIDIA H100: measured again" in "".join(capsys.readouterr())


def test_rows_of_a_table_are_of_one_batch(tmp_path, monkeypatch):
    """Catches times of calls of two sizes side by side, after costs were asked at other lengths."""
    shapes, folder = costs.models_of(SMALL, ["attention", "based"]), CostFolder(tmp_path)
    monkeypatch.setattr(costs, "machine", dict)
    monkeypatch.setattr(costs, "draw", lambda _: None)
    monkeypatch.setattr(costs, "cost_rows", rows_without_measuring)
    how = CostOptions(lengths=(8, 16), programs=("prefill", "decode"), tokens=16)
    costs.continue_measuring(shapes, folder, how)
    larger = dataclasses.replace(how, tokens=64, lengths=(16,))
    table, *_ = costs.continue_measuring(shapes, folder, larger)
    assert not table.duplicated(["model", "length", "program"]).any()
    prefill = table[table["program"] == "prefill"]
    assert set(zip(prefill["length"], prefill["batch"], strict=True)) == {(8, 2), (16, 4)}


TIMES = {"low": 0.1, "high": 2.0, "seconds_per_token": 0.1, "tokens_per_second": 16.0}


def rows_without_measuring(models, how, known):
    """What `cost_rows` gives, of made-up times."""
    for key in sorted(keys_of(models, how) - set(known)):
        names = ("model", "length", "program", "batch")
        row = dict.fromkeys(READ) | models[key[0]].shape | dict(zip(names, key, strict=True))
        yield row | TIMES | {"seconds": 0.5}


def test_earlier_results_stay_until_there_are_new_ones(tmp_path, monkeypatch):
    """Catches a table that is gone because the next measurement failed, and a foreign folder."""
    how = CostOptions(lengths=(8,), programs=("prefill",), tokens=8, repeats=1)
    costs.measure(SMALL, [], tmp_path / "costs", how)
    before = (tmp_path / "costs" / "cost.csv").read_text()

    def broken(*_):
        raise RuntimeError("broken")
        yield

    monkeypatch.setattr(costs, "cost_rows", broken)
    with pytest.raises(RuntimeError, match="broken"):
        costs.measure(SMALL, [], tmp_path / "costs", how)
    assert (tmp_path / "costs" / "cost.csv").read_text() == before
    assert (tmp_path / "costs" / "machine.json").exists()
    # Broken off after a row, the folder has that row, its machine, and nothing of earlier ones.
    monkeypatch.setattr(costs, "machine", lambda: {"device": "another"})

    def broken_later(*given):
        yield next(cost_rows(*given))
        raise RuntimeError("broken")

    monkeypatch.setattr(costs, "cost_rows", broken_later)
    with pytest.raises(RuntimeError, match="broken"):
        costs.measure(SMALL, [], tmp_path / "costs", how)
    assert (tmp_path / "costs" / "cost.csv").read_text() != before
    assert "another" in (tmp_path / "costs" / "machine.json").read_text()
    assert {path.name for path in (tmp_path / "costs").iterdir()} == {"cost.csv", "machine.json"}
    with pytest.raises(UserError, match="is not empty and holds no costs"):
        costs.measure(SMALL, [], tmp_path, how)
    folder = CostFolder(tmp_path / "costs")
    with folder.lock("costs"), pytest.raises(UserError, match="costs"):  # another program's rows
        costs.measure(SMALL, [], folder.path, how)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lengths=12,x"], "--lengths=12,x: whole numbers, with commas"),
        (["--lengths=1"], "cost.lengths has 1"),
        (["--programs=all"], "unknown program of cost.programs 'all'"),
        (["--mixers=mamber"], "unknown mixer 'mamber' (did you mean 'mamba'?)"),
        (["--repeats=0"], "cost.repeats is 0"),
    ],
)
def test_mistakes(arguments, message, tmp_path):
    """Catches a traceback, and a mistake that is found after the measurement."""
    command = ["-m", "launch.cost", "recall:smoke=True", f"--workdir={tmp_path / 'new'}"]
    done = forked.start([*command, *arguments])
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: {message}")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    """Catches a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        costs.measure(SMALL, [], tmp_path / "file" / "deeper", CostOptions())
