"""The folder of costs: what is written is read, and rows belong to one model."""

import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.store.cost_folder import CROSSED, READ, CostFolder, rows_of


def costs():
    """Rows of three models, of which two differ in their layers alone."""
    shapes = [("attention", 32, 2), ("mamba", 32, 2), ("mamba", 32, 4)]
    row = {name: 1.0 if kind is float else "x" for name, kind in READ.items()}
    names = ("mixer", "width", "layers")
    return pd.DataFrame([row | dict(zip(names, shape, strict=True)) for shape in shapes])


def crossings():
    """A row of two models that have costs."""
    return pd.DataFrame([{n: 2.0 if kind is float else "x" for n, kind in CROSSED.items()}])


def test_what_is_written_is_read(tmp_path):
    """Catches a file under another name, and costs where none were measured."""
    folder = CostFolder(tmp_path)
    assert folder.read_costs() is folder.read_crossovers() is None
    assert folder.read_machine() == {}
    folder.write_costs(costs())
    crossed = crossings()
    folder.write_crossovers(crossed)
    folder.write_machine({"device": "a CPU"})
    pd.testing.assert_frame_equal(folder.read_costs(), costs(), check_dtype=False)
    pd.testing.assert_frame_equal(folder.read_crossovers(), crossed)
    assert CostFolder(tmp_path).read_machine() == {"device": "a CPU"}


def test_rows_are_of_one_model():
    """Catches costs of a deeper model beside those of a shape."""
    found = rows_of(costs(), {"mixer": "mamba", "width": 32, "layers": 2})
    assert list(found["layers"]) == [2]
    assert rows_of(costs(), {"mixer": "mamba", "width": 64, "layers": 2}).empty


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop(columns="tokens_per_second"),
        lambda table: table.drop(columns="reason"),
        lambda table: table.assign(tokens_per_second="many"),
        lambda table: table.assign(joules_per_token="none"),
    ],
)
def test_what_is_shown_is_checked(change, tmp_path):
    """Catches a traceback of a page or of a choice, for a column that is damaged."""
    change(costs()).to_csv(tmp_path / "cost.csv", index=False)
    with pytest.raises(UserError, match=r"cost\.csv is damaged"):
        CostFolder(tmp_path).read_costs()


def test_a_damaged_table_is_refused(tmp_path):
    """Catches numbers that are taken from another table."""
    (tmp_path / "cost.csv").write_text("model,mixer\na,attention\n")
    with pytest.raises(UserError, match=r"cost\.csv is damaged: it lacks the column 'program'"):
        CostFolder(tmp_path).read_costs()


@pytest.mark.parametrize("column", ["model", "against"])
def test_a_model_without_costs_is_refused(column, tmp_path):
    """Catches a traceback of a figure, for a name that was changed in one of two tables."""
    folder = CostFolder(tmp_path)
    folder.write_crossovers(crossings().assign(**{column: "gru"}))
    with pytest.raises(UserError, match=r"names the model .*, and cost\.csv has no model"):
        folder.read_crossovers()
    folder.write_costs(costs())
    with pytest.raises(UserError, match=r"names the model gru, and cost\.csv has x; remove it"):
        folder.read_crossovers()
