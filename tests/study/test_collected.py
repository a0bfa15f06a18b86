"""Results that are kept, from several machines."""

import dataclasses
import json

import pytest

from configs.study import ar_beta2, ar_reverse
from mecheval_jax.errors import UserError
from mecheval_jax.files import write_json
from mecheval_jax.study.collected import add_sweep, conclude_all, missing, name_of
from mecheval_jax.study.plans import experiments_at
from mecheval_jax.study.tables import read_table, write_table
from mecheval_jax.study.timing import Clock
from tests.support.sweep_results import fill_members, make_sweep

ACCURACIES = {"based": {(1e-3, 0): 0.9, (1e-3, 1): 0.8}, "mamba": {(1e-3, 0): 0.5}}
BASED, MAMBA = "000_based_width_16", "001_mamba_width_16"


@pytest.fixture
def machines(tmp_path):
    """The same sweep on two machines that were both lost: each has finished one group."""
    found = {}
    for lost, name in (("mamba", "first"), ("based", "second")):
        found[name] = make_sweep(tmp_path / name, ACCURACIES, unfinished=(lost,))
        fill_members(found[name], {0: 0.9, 1: 0.8, 2: 0.5})
    return found


@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")])
def test_machines_add_up(machines, tmp_path, order):
    """Catches rows of an earlier machine that are dropped, an order by which came first, and files
    that change when nothing did."""
    kept = tmp_path / "kept"
    for name in order:
        assert add_sweep(kept, machines[name].path) == "recall"
    assert list(read_table(kept / "recall.csv")["accuracy"]) == [0.9, 0.8, 0.5]
    assert (kept / "recall.json").read_bytes() == machines["first"].sweep.read_bytes()
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    assert add_sweep(kept, machines["first"].path) == "recall"
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before


def test_what_is_missing_is_said(machines, tmp_path):
    """Catches a gap that nobody is told of, and answers alone that count as measured."""
    kept = tmp_path / "kept"
    add_sweep(kept, machines["first"].path)
    (line,) = missing(kept)
    assert line == f"recall: 1 of 3 members to train ({MAMBA})"
    (run,) = machines["second"].path.glob("groups/*/members/0002")
    (run / "interchange.csv").unlink()
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({k: v for k, v in summary.items() if k[0] != "v"}))
    add_sweep(kept, machines["second"].path)
    (line,) = missing(kept)
    assert line == f"recall: 1 of 3 members to measure ({MAMBA})"


def test_another_sweep_of_the_same_name(machines, tmp_path):
    """Catches members of two sweeps in one table, with the config of one."""
    other = make_sweep(tmp_path / "other", {"based": {(1e-2, 0): 0.9}})
    fill_members(other, {0: 0.9})
    kept = tmp_path / "kept"
    add_sweep(kept, machines["first"].path)
    with pytest.raises(UserError, match=r"recall\.json is the config of another sweep.*--table"):
        add_sweep(kept, other.path)
    assert add_sweep(kept, other.path, "other") == "other"
    other.provenance.unlink()
    assert name_of(other) == "other"


def test_a_field_that_is_new_makes_no_other_sweep(machines, tmp_path):
    """Catches results that cannot grow any more, since a later version has one more option."""
    kept = tmp_path / "kept"
    name = add_sweep(kept, machines["first"].path)
    config = kept / f"{name}.json"
    whole = json.loads(config.read_text())
    del whole["base"]["model"]["canon_at"]
    config.write_text(json.dumps(whole))
    assert add_sweep(kept, machines["second"].path) == name
    assert "canon_at" in json.loads(config.read_text())["base"]["model"]


def test_nothing_is_finished(tmp_path):
    """Catches an empty table, and a traceback."""
    sweep = make_sweep(tmp_path / "sweep", ACCURACIES, unfinished=("based", "mamba"))
    with pytest.raises(UserError, match=r"no group of .* is finished yet"):
        add_sweep(tmp_path / "kept", sweep.path)
    assert not (tmp_path / "kept").exists()


def test_what_was_never_begun_is_said(machines, tmp_path):
    """Catches a page on which an experiment without a single run does not occur, or one of which a
    member is known from another table counts as begun."""
    kept = tmp_path / "kept"
    add_sweep(kept, machines["first"].path)
    configs = {"ar_beta2": ar_beta2, "ar_reverse": ar_reverse}
    untouched, begun = experiments_at("laptop", False, configs.get, Clock(1, False), (*configs,))
    (member, *_) = read_table(kept / "recall.csv")["config_hash"]
    begun = dataclasses.replace(begun, wanted=(member, *begun.wanted[1:]))
    found = conclude_all(kept, [untouched, begun])
    assert found.coverage is not None
    every = {one.name: (one.there, one.lacking) for one in found.coverage.experiments}
    assert every == {
        untouched.experiment.name: (0, len(untouched.wanted)),
        begun.experiment.name: (1, len(begun.wanted) - 1),
    }
    page = (kept / "findings" / "results.md").read_text()
    assert f"| ar_reverse | 0 | {len(untouched.wanted)} | 26 |" in page
    assert f"| ar_beta2 | 1 | {len(begun.wanted) - 1} | none |" in page


def test_all_tables_are_judged_together(machines, tmp_path):
    """Catches pages without the members, or without what is missing."""
    kept = tmp_path / "kept"
    add_sweep(kept, machines["first"].path)
    found = conclude_all(kept)
    assert "2 trained models, 2 of them with interventions" in found.what
    page = (kept / "findings" / "results.md").read_text()
    assert "1 of 3 members to train" in page
    (kept / "recall.csv").write_text("edited")
    with pytest.raises(UserError, match="was edited"):
        conclude_all(kept)
    assert "0 trained models" in conclude_all(tmp_path / "nothing yet").what


def test_what_stands_in_another_table_is_not_missing(machines, tmp_path):
    """Catches members called missing that were trained under another name."""
    kept = tmp_path / "kept"
    add_sweep(kept, machines["first"].path)
    assert missing(kept) == [f"recall: 1 of 3 members to train ({MAMBA})"]
    add_sweep(kept, machines["second"].path, "rest")
    assert missing(kept) == []
    (kept / "rest.csv").unlink()
    with pytest.raises(UserError, match=r"no results table .*rest\.csv"):
        missing(kept)


def test_what_another_table_has_otherwise_is_not_added(machines, tmp_path, capfd):
    """Catches two tables that disagree, after which none of them can be read any more."""
    kept, again = tmp_path / "kept", machines["first"]
    add_sweep(kept, again.path)
    for summary in again.path.glob("groups/*/members/*/summary.json"):
        summary.write_text(summary.read_text().replace('"accuracy": 0.8', '"accuracy": 0.75'))
    add_sweep(kept, again.path, "other")
    assert "rows left out: 1," in capfd.readouterr().err
    assert list(read_table(kept / "other.csv")["accuracy"]) == [0.9]
    for summary in again.path.glob("groups/*/members/*/summary.json"):
        summary.write_text(summary.read_text().replace('"accuracy": 0.9', '"accuracy": 0.7'))
    for name in ("other.csv", "other.json"):
        (kept / name).unlink()
    with pytest.raises(UserError, match=r"nothing of .*first is added .*with other numbers"):
        add_sweep(kept, again.path, "other")
    assert not (kept / "other.json").exists()
    assert list(read_table(kept / "recall.csv")["accuracy"]) == [0.9, 0.8]
    # The table of the sweep itself takes the newer numbers, as ever.
    add_sweep(kept, again.path)
    assert list(read_table(kept / "recall.csv")["accuracy"]) == [0.7, 0.75]


def test_other_models_than_the_study_has_are_not_added(machines, tmp_path):
    """Catches a model with a convolution before its mixers that counts as another seed of one
    without, and a training of another kind."""
    for section, field, value in (("model", "canon", 4), ("training", "weight_decay", 0.1)):
        changed = machines["second"].read()
        known = changed["base"][section][field]
        changed["base"][section][field] = value
        write_json(machines["second"].sweep, changed)
        words = rf"{section}\.{field} is {value}, in the study {known}"
        with pytest.raises(UserError, match=f"second has members of other models .*: {words}"):
            add_sweep(tmp_path / "kept", machines["second"].path)
        changed["base"][section][field] = known
        write_json(machines["second"].sweep, changed)
    assert not (tmp_path / "kept").exists()


def test_a_model_that_was_measured_in_two_ways_counts_once(machines, tmp_path):
    """Catches the same models on more documents taken for further seeds."""
    kept = tmp_path / "kept"
    add_sweep(kept, machines["first"].path)
    table = read_table(kept / "recall.csv")
    write_table(kept / "again.csv", table.assign(config_hash=table["config_hash"].str[::-1]))
    with pytest.raises(UserError, match=r"based, width 16, rate 0.001, seed 0 .* is there twice"):
        add_sweep(kept, machines["second"].path)
    with pytest.raises(UserError, match=r"based, width 16, rate 0.001, seed 0 .* is there twice"):
        conclude_all(kept)


def test_what_cannot_be_compared_is_not_added(machines, tmp_path):
    """Catches a table that stands among others, all of which then can be judged no more."""
    kept = tmp_path / "kept"
    add_sweep(kept, machines["first"].path)
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    longer = machines["second"].read()
    longer["base"]["training"]["steps"] *= 2
    write_json(machines["second"].sweep, longer)
    with pytest.raises(UserError, match=r"nothing of .*second is added .*cannot be compared"):
        add_sweep(kept, machines["second"].path, "other")
    for name in ("a/b", "../b"):
        with pytest.raises(UserError, match=f"--table={name}: .* without a folder"):
            add_sweep(kept, machines["first"].path, name)
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
