"""What a choice leaves in a folder stands on the sweep's page."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.reporting.html.chosen import chosen
from tests.support.choices import ADVICE, add_choice, choice_rows


def test_a_folder_without_a_choice_has_nothing_of_one(tmp_path):
    """Catches a sweep's report that needs a choice."""
    found = chosen(tmp_path)
    assert (found["advice"], found["tables"], found["figures"]) == (None, {}, {})
    assert not list(tmp_path.iterdir())


def test_tables_figures_and_advice(tmp_path):
    """Catches columns that are swapped, an interval of another number, and a lost file."""
    add_choice(tmp_path)
    found = chosen(tmp_path)
    assert found["advice"] == ADVICE
    assert set(found["figures"]) == {"cost_against_accuracy", "cost"}
    assert found["machine"]["device"] == "a made-up device"
    for name, table in found["tables"].items():
        assert {path.name for path in (tmp_path / "tables").glob(f"{name}.*")} == {
            f"{name}.{kind}" for kind in ("csv", "md", "tex")
        }
        assert list(table.rows)
    texts = found["tables"]["choice"].texts()
    assert list(texts["accuracy"]) == ["99.5% [92.5%, 100.0%]", "61.0% [54.0%, 66.0%]",
                                       "81.0% [74.0%, 86.0%]"]  # fmt: skip
    costs = found["tables"]["costs"].frame()
    assert list(costs["decode_seconds"]) == [row["decode_seconds"] for row in choice_rows()]
    assert found["tables"]["costs"].texts()["state"][1] == "23 kB"
    assert list(texts["memorised"]) == ["no", "yes", "no"]
    fronts = found["tables"]["fronts"].texts()
    assert fronts.iloc[2].tolist() == ["based", "16", "no", "no", "no", "no", "yes"]
    crossing = found["tables"]["crossings"].texts().iloc[0]
    assert crossing["cheaper from, tokens"] == "700 [512, 900]"


def test_a_damaged_choice_is_named(tmp_path):
    """Catches a traceback for a table that was cut off."""
    (tmp_path / "choice.csv").write_text("mixer\n")
    with pytest.raises(UserError, match=r"choice\.csv is damaged"):
        chosen(tmp_path)
