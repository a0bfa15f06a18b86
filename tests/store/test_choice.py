"""The files of a choice: written, read back, and damaged."""

import dataclasses
import json

import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.store import choice
from mecheval_jax.store.choice import Advice, ChoiceFolder, FurtherRun, Paragraph
from tests.support.choices import choice_rows

ADVICE = Advice(
    choice.RECOMMENDED,
    {"group": "000_based_width_64", "mixer": "based", "width": 64},
    (Paragraph("answer", "Take Based.", {"accuracy": 0.98}),),
    (FurtherRun("more seeds", "python -m launch.choose"),),
)


@pytest.fixture
def folder(tmp_path):
    return ChoiceFolder(tmp_path)


def test_advice_comes_back_as_it_was(folder):
    """Catches a field that is written and not read, or read as a plain dict."""
    folder.write_advice(ADVICE)
    assert folder.read_advice() == ADVICE
    assert set(json.loads(folder.advice.read_text())) == {
        field.name for field in dataclasses.fields(Advice)
    }


def test_the_table_comes_back(folder):
    """Catches columns in another order than is documented, and one that is lost."""
    row = dict.fromkeys(choice.COLUMNS) | {"mixer": "based", "accuracy": 0.5}
    folder.write_choice(pd.DataFrame([row])[list(reversed(choice.COLUMNS))])
    table = folder.read_choice()
    assert tuple(table.columns) == choice.COLUMNS
    assert table["accuracy"][0] == 0.5


def test_every_column_is_documented():
    """Catches a column that nobody who reads the table is told of."""
    ends = ("_low", "_high")
    for name in choice.COLUMNS:
        stem = name.removesuffix("_low").removesuffix("_high")
        known = name if name in ("low", "high") or not name.endswith(ends) else stem
        assert f"``{known}``" in choice.__doc__, name


@pytest.mark.parametrize("column", [name for name, kind in choice.KINDS.items() if kind is not str])
def test_a_word_for_a_number_is_damage(folder, column):
    """Catches a traceback in the advice or on the page, for one cell that was written over."""
    rows = choice_rows()
    folder.write_choice(pd.DataFrame(rows))
    assert len(folder.read_choice()) == len(rows)
    rows[0][column] = "x"
    folder.write_choice(pd.DataFrame(rows))
    with pytest.raises(UserError, match=r"choice\.csv is damaged"):
        folder.read_choice()


@pytest.mark.parametrize(
    ("name", "text", "read", "words"),
    [
        ("choice.csv", "mixer\nbased\n", "read_choice", "lacks the column 'group'"),
        ("choice.csv", "", "read_choice", "damaged"),
        ("advice.json", "{}", "read_advice", "damaged"),
        ("advice.json", "[", "read_advice", "damaged"),
        ("plan.json", "[]", "read_plan", "damaged"),
        (
            "plan.json",
            '{"asked": {"widths": [64], "learning_rates": 3, "seeds": 3}}',
            "read_plan",
            "damaged",
        ),
    ],
)
def test_damaged_files_are_named(folder, name, text, read, words):
    """Catches a traceback for a file that was cut off."""
    (folder.path / name).write_text(text)
    with pytest.raises(UserError, match=words) as raised:
        getattr(folder, read)()
    assert name in str(raised.value)


def test_files_that_are_not_there(folder):
    """Catches a message that does not say which program writes them."""
    for read in (folder.read_choice, folder.read_advice):
        with pytest.raises(UserError, match=r"choose writes it"):
            read()
    assert folder.read_plan() == {}
