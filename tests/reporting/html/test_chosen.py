"""What a choice leaves in a folder stands on the sweep's page."""

import pytest

from mecheval_jax.reporting.html.chosen import chosen
from mecheval_jax.store.left_out import LeftOut
from tests.support.choices import ADVICE, add_choice, choice_rows


def test_a_folder_without_a_choice_has_nothing_of_one(tmp_path):
    """Catches a sweep's report that needs a choice."""
    found = chosen(tmp_path, LeftOut())
    assert (found["advice"], found["tables"], found["figures"]) == (None, {}, {})
    assert not list(tmp_path.iterdir())


def test_tables_figures_and_advice(tmp_path):
    """Catches columns that are swapped, an interval of another number, and a lost file."""
    add_choice(tmp_path)
    found = chosen(tmp_path, LeftOut())
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
    assert list(costs["training_flops_per_token"]) == [1e6 + row["length"] for row in choice_rows()]
    assert found["tables"]["costs"].texts()["state"][1] == "23 kB"
    assert list(texts["memorised"]) == ["no", "yes", "no"]
    fronts = found["tables"]["fronts"].texts()
    assert fronts.iloc[2].tolist() == ["based", "16", "no", "no", "no", "no", "yes"]
    crossing = found["tables"]["crossings"].texts().iloc[0]
    assert crossing["cheaper from, tokens"] == "700 [512, 900]"


@pytest.mark.parametrize(
    ("damaged", "name"),
    [("choice.csv", "choice"), ("advice.json", "advice"), ("cost/crossovers.csv", "costs")],
)
def test_a_damaged_part_is_named_and_the_others_are_shown(tmp_path, damaged, name):
    """Catches a traceback for a file that was cut off, and one that takes the others with it."""
    add_choice(tmp_path)
    whole = chosen(tmp_path, LeftOut())
    (tmp_path / damaged).write_text("mixer\n")
    left_out = LeftOut()
    found = chosen(tmp_path, left_out)
    assert list(left_out) == [name]
    assert "is damaged" in left_out[name]
    lost = {"choice": {"choice", "transparency", "fronts", "costs"}, "advice": set()}
    kept = set(whole["tables"]) - lost.get(name, {"measured", "crossings"})
    assert set(found["tables"]) == kept
    assert (found["advice"] is None) == (name == "advice")
