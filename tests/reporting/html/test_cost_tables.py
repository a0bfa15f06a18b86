"""What a model costs stands on the page of its run and of its sweep."""

import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.files import read_table
from mecheval_jax.models import decoding
from mecheval_jax.models.decoding import state_bytes
from mecheval_jax.models.language_model import parameter_count
from mecheval_jax.reporting.html import cost_tables, report
from mecheval_jax.reporting.html.cost_tables import measured, of_run, of_training
from mecheval_jax.reporting.html.reading import read
from mecheval_jax.store.run_folder import RunFolder
from tests.support.choices import add_choice
from tests.support.pages import tables_of, words_of
from tests.support.reported_runs import make_run


def test_a_model_has_its_size_and_its_state(tmp_path):
    """Catches a state of another length than the documents', and costs that only a sweep has."""
    folder = make_run(tmp_path / "run", interchange=False)
    experiment = RunFolder(folder).experiment()
    length = experiment.task.max_length
    text = words_of(report.write([str(folder)]).read_text())
    expected = [parameter_count(experiment.model), length, state_bytes(experiment.model, length)]
    written = pd.read_csv(folder / "tables" / "cost.csv")
    assert written.to_numpy().tolist() == [expected]
    assert f"{expected[0]:,} {length}" in text
    assert "Measured on" not in text


def test_a_mixer_without_a_state_has_a_dash(tmp_path, monkeypatch):
    """Catches a report that ends where a model cannot generate from a state."""

    def refused(*_):
        raise UserError("it has no recurrent form")

    monkeypatch.setattr(decoding, "state_bytes", refused)
    monkeypatch.setattr(cost_tables, "_counted", cost_tables._counted.__wrapped__)  # not cached
    folder = make_run(tmp_path / "run", interchange=False)
    cost = of_run(read(RunFolder(folder), "run"))["cost"]
    assert cost.texts().iloc[0, 2] == "-"


def test_measured_costs_are_those_of_this_model(tmp_path):
    """Catches costs of a sweep's other shapes at a member, and a member that misses its sweep's."""
    add_choice(tmp_path)
    member = make_run(tmp_path / "groups" / "000" / "members" / "0000")
    page = report.write([str(member)]).read_text()
    assert "measured" not in tables_of(page)  # on its own it is in no sweep
    (member / "member.json").write_text('{"place": 0, "of": 1}')
    page = report.write([str(member)]).read_text()
    rows = tables_of(page)["measured"][1:]
    assert {row[0][1] for row in rows} == {"attention"}
    assert len(rows) == 6
    (cost,) = tables_of(page)["cost"][1:]
    assert [text for _, text in cost][-2:] == ["1 M", "7.13 kB"]
    assert "Measured on a made-up device (cpu): float32 products" in words_of(page)


def test_damaged_costs_are_named(tmp_path):
    """Catches a traceback for a table of costs that was cut off."""
    folder = make_run(tmp_path / "run", interchange=False)
    (folder / "cost").mkdir()
    (folder / "cost" / "cost.csv").write_text("model,mixer\na,attention\n")
    with pytest.raises(UserError, match=r"cost\.csv is damaged"):
        of_run(read(RunFolder(folder), "run"))


def test_a_measurement_has_its_rates_and_its_spread(tmp_path):
    """Catches ends of a call beside the time of a token, and columns of costs that are left out."""
    table = read_table(add_choice(tmp_path).cost.costs)
    texts = measured(table).texts()
    row = texts[(texts["model"] == "mamba") & (texts["tokens"] == "1,024")].iloc[1]
    assert row["program"] == "prefill"
    assert row["time a token"] == "22 µs [19.8 µs, 26.4 µs]"
    assert row["tokens a second"] == "45,455"
    assert row["traffic a token"] == "8.02 kB"


def test_what_was_not_measured_has_no_spread():
    """Catches a division by a time that is not there."""
    empty = {"model": "mamba", "length": 128, "program": "decode", "reason": "needs 9.1 GB"}
    empty |= dict.fromkeys(("seconds", "low", "high", "seconds_per_token"))
    row = measured(pd.DataFrame([empty])).texts().iloc[0]
    assert (row["time a token"], row["not measured because"]) == ("-", "needs 9.1 GB")


def test_training_costs_are_those_at_the_nearest_length(tmp_path):
    """Catches another program's operations, and a length nobody measured taken for another."""
    table = read_table(add_choice(tmp_path).cost.costs)
    own = table[table["mixer"] == "mamba"]
    shortest, longest = map(int, (own["length"].min(), own["length"].max()))
    for length, nearest in ((1, shortest), (longest - 1, longest), (10**6, longest)):
        found = of_training(own, length)["training_flops_per_token"]
        assert found == 1e6 + nearest
    assert of_training(own[own["program"] == "decode"], 1) == {}
    assert of_training(own.assign(flops_per_token=float("nan")), 1) == {}
    assert of_training(own, float("nan")) == {}
