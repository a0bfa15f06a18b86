"""The tables of a sweep's page."""

import pandas as pd
import pytest

from mecheval_jax.mixers.architectures import positions_of
from mecheval_jax.reporting.html import sweep_tables
from mecheval_jax.store.status import read_overview
from mecheval_jax.store.sweep_tables import SweepTables, wide
from mecheval_jax.study.published.tables import MODEL
from tests.support.sweep_results import ATTENTION


@pytest.fixture(scope="module")
def tables(swept):
    found = SweepTables(
        *map(pd.read_csv, (swept.table, swept.best, swept.success, swept.differences))
    )
    return sweep_tables.of(swept, read_overview(swept.path), found)


def test_every_member_has_its_row_and_the_way_to_it(tables):
    """Catches a member that is left out, and a link to a report that nobody made."""
    rows = {row["member"]: row for row in tables["members"].rows}
    assert sorted(rows, key=int) == [str(number) for number in range(10)]
    assert rows["5"]["link"] == f"groups/{ATTENTION}/members/0005/report.html"
    assert rows["4"]["link"] == f"groups/{ATTENTION}/members/0004/"
    assert (rows["5"]["accuracy"], rows["5"]["step"]) == (0.995, 15)


def test_success_by_what_is_counted_together(tables):
    """Catches shares of one threshold under another, and rates that are mixed up."""
    (attention, mamba) = tables["success"].texts().to_numpy().tolist()
    assert attention[:4] == ["attention, width 16, 2 layers", "6", "1", "33.3% [9.7%, 70.0%]"]
    assert mamba[1:3] == ["4", "0"]
    by_rate = tables["success_by_rate"].frame()
    shown = by_rate[["learning_rate", "members", "above_50"]].to_numpy().tolist()
    assert shown[:2] == [[1e-4, 3, 0.0], [1e-2, 3, 2 / 3]]
    assert "seed" not in by_rate
    assert list(tables["success_by_seed"].frame()["seed"])[:3] == [0, 1, 2]


def test_published_numbers_stand_at_what_may_be_compared(swept):
    """Catches a published number beside a run of another task, or of another model."""
    content, members = swept.read(), wide(pd.read_csv(swept.table))
    assert {row["published"] for row in sweep_tables.models(members, content)} == {None}
    recall = {"pairs": 16, "key_vocabulary": 4096, "value_vocabulary": 4096}
    base = {name: dict(section) for name, section in content["base"].items()}
    base["task"] |= recall
    base["model"] |= MODEL
    usual = [
        changes | {"model.positions": positions_of(changes["model.mixer"])}
        for changes in content["members"]
    ]
    rows = sweep_tables.models(members, content | {"base": base, "members": usual})
    assert {row["mixer"]: row["published"] for row in rows} == {
        "attention": 21 / 320, "mamba": 32 / 320,
    }  # fmt: skip
    option = "model.mixer_options.d_conv"
    no_taps = [each | ({option: 0} if "mamba" in each.values() else {}) for each in usual]
    rows = sweep_tables.models(members, content | {"base": base, "members": no_taps})
    of_mamba = {row["published"] for row in rows if row["mixer"] == "mamba"}
    assert of_mamba == {3 / 320}
    unusual = [changes | {"model.positions": "none", "model.canon": 4} for changes in usual]
    rows = sweep_tables.models(members, content | {"base": base, "members": unusual})
    assert {row["published"] for row in rows} == {None}
    other = [changes | {"task.reverse": True} for changes in content["members"]]
    rows = sweep_tables.models(members, content | {"base": base, "members": other})
    assert {row["published"] for row in rows} == {None}


def test_models_say_what_documents_they_were_asked(swept):
    """Catches models of easy and of hard documents that are drawn as if of one task."""
    content, members = swept.read(), wide(pd.read_csv(swept.table))
    assert {row["task"] for row in sweep_tables.models(members, content)} == {""}
    changed = [
        changes | {"task.pairs": 4 if number % 2 else 8, "task.reverse": True}
        for number, changes in enumerate(content["members"])
    ]
    rows = sweep_tables.models(members, content | {"members": changed})
    assert {row["member"] % 2: row["task"] for row in rows} == {0: "pairs 8", 1: "pairs 4"}
