"""Tables over all members of a sweep."""

import numpy as np
import pandas as pd
import pytest

from configs import grids
from mecheval_jax.files import read_json, write_json
from mecheval_jax.statistics.crossed import Answers
from mecheval_jax.statistics.intervals import wilson
from mecheval_jax.store.sweep_tables import (
    MEMBERS,
    best,
    differences,
    member_rows,
    read_members,
    success,
    with_shapes,
    write_tables,
)
from mecheval_jax.sweeps.plan import plan
from tests.support.sweep_results import make_sweep
from tests.support.whole_sweeps import BASE


def test_rates_over_seeds_alone():
    """Catches members of other weight decays that are counted as seeds."""
    changes = grids.product(
        grids.axis("training.weight_decay", (0.0, 0.1)),
        grids.axis("training.learning_rate", (1e-3, 1e-2)),
        grids.seeds(3),
    )
    summary = {"accuracy": 0.95, "accuracy_low": 0.9, "accuracy_high": 1.0, "likelihood": 0.9}
    summary |= {"loss": 0.1, "floors": {"best": 0.5}, "step": 20}
    (group,) = plan(BASE, changes).groups
    rows = [
        row
        for number, one in zip(group.members, group.experiments, strict=True)
        for row in member_rows(
            number, group.name, one, summary | {"accuracy": 0.95 if number < 3 else 0.1}, []
        )
    ]
    rates = success(pd.DataFrame(rows, columns=MEMBERS), 0.95, {}, thresholds=(0.9,))
    assert rates.groupby("over", sort=False)["members"].apply(list).to_dict() == {
        "all": [12],
        "seeds": [3] * 4,
        "learning_rates": [2] * 6,
    }
    of_seeds = rates[rates["over"] == "seeds"].set_index(["learning_rate", "weight_decay"])
    assert of_seeds["value"].to_dict() == {
        (1e-3, 0.0): 1.0,
        (1e-3, 0.1): 0.0,
        (1e-2, 0.0): 0.0,
        (1e-2, 0.1): 0.0,
    }
    assert of_seeds["seed"].isna().all()


def test_tables_say_what_shapes_differ_in():
    """Catches groups that are told apart by their names alone."""
    changes = grids.product(
        grids.axis("task.pairs", (2, 3)),
        grids.axis("model.width", (8, 16)),
        grids.axis("training.batch_size", (16.0,)),
        grids.seeds(2),
    )
    content = plan(BASE, [*changes, {"model.width": 32}]).as_dict()
    names = [group["name"] for group in content["groups"]]
    table = with_shapes(pd.DataFrame({"group": names, "layers": 1, "value": 0.5}), content)
    assert list(table.columns) == [
        "group",
        "layers",
        "task.pairs",
        "training.batch_size",
        "value",
    ]
    assert table["task.pairs"].tolist() == ["2", "2", "3", "3", str(BASE["task"]["pairs"])]
    assert table["training.batch_size"].tolist()[-1] == str(BASE["training"]["batch_size"])


def rows_of(changes, accuracy):
    """Rows of members whose accuracies are a function of their numbers."""
    summary = {"accuracy_low": 0.0, "accuracy_high": 1.0, "likelihood": 0.9, "loss": 0.1}
    summary |= {"floors": {"best": 0.5}, "step": 20}
    metrics = [{"split": "dev", "accuracy": 0.5, "loss": 1.0}]
    rows = [
        row
        for group in plan(BASE, changes).groups
        for number, one in zip(group.members, group.experiments, strict=True)
        for row in member_rows(
            number, group.name, one, summary | {"accuracy": accuracy(number)}, metrics
        )
    ]
    return pd.DataFrame(rows, columns=MEMBERS)


def on_documents(correct, first=0):
    """Answers of one member: 1 where it is right."""
    names = np.arange(first, first + len(correct))
    return Answers(*(np.array([values]) for values in (correct, np.ones(len(correct)), names)))


def test_an_option_by_itself_is_a_column():
    """Catches a table that ends at a field inside a field, and a default told as another's."""
    names = [f"00{number}_mamba_width_16" for number in range(3)]
    members = [{}, {"model.mixer_options.d_conv": 2}, {"model.mixer_options.d_conv": 4}]
    groups = [{"name": name, "members": [place]} for place, name in enumerate(names)]
    for options, default in (({}, ""), ({"d_conv": 3}, "3")):
        base = {"model": {"mixer_options": options}}
        content = {"base": base, "members": members, "groups": groups}
        table = with_shapes(pd.DataFrame({"group": names, "layers": 1, "value": 0.5}), content)
        assert table["model.mixer_options.d_conv"].tolist() == [default, "2", "4"]


def test_members_on_the_same_documents_count_for_fewer():
    """Catches Wilson's interval on five members that pass or fail by one and the same document."""
    table = rows_of(grids.axis("training.seed", tuple(range(5))), lambda number: 0.6)
    right = (np.arange(20) < 12).astype(float)
    shared = {number: on_documents(right) for number in range(5)}
    own = {number: on_documents(right, 100 * number) for number in range(5)}
    ends = {}
    for name, known in (("shared", shared), ("own", own), ("unknown", {})):
        row = success(table, 0.95, known, thresholds=(0.55,)).iloc[0]
        assert row["value"] == 1
        ends[name] = row["low"]
    assert ends["own"] == ends["unknown"] == wilson(5, 5)[0]
    assert ends["shared"] < ends["own"] - 0.1


def test_a_config_without_a_confidence(tmp_path):
    """Catches a traceback when all is trained: what a config leaves out has its default."""
    sweep = make_sweep(tmp_path / "sweep", {"based": {(1e-3, 0): 0.9, (1e-3, 1): 0.8}})
    content = read_json(sweep.sweep)
    del content["base"]["evaluation"]["confidence"]
    write_json(sweep.sweep, content)
    tables = []
    write_tables(sweep, lambda folder, found: tables.append(found))
    assert not tables[0].success.empty


def test_differences_between_shapes():
    """Catches a shape's worse rate compared, and documents drawn apart that both were asked."""
    changes = grids.product(
        grids.axis("model.width", (8, 16)),
        grids.axis("training.learning_rate", (1e-3, 1e-2)),
        grids.axis("training.seed", (0, 1, 2)),
    )
    table = rows_of(changes, lambda number: 0.5)
    chosen = best(table)
    assert chosen["learning_rate"].tolist() == [1e-3] * 2  # all alike: the first
    hard = (np.arange(40) % 2).astype(
        float
    )  # the second is wrong where the first is, and once more
    once_more = hard * (np.arange(40) != 1)
    known = {n: on_documents(hard if n < 6 else once_more) for n in range(12)}
    (row,) = differences(table, chosen, 0.95, known).to_dict("records")
    assert row["value"] == pytest.approx(1 / 40)
    assert row["same_documents"]
    assert (row["first_members"], row["second_members"]) == (3, 3)
    apart = known | {n: on_documents(once_more, 100) for n in range(6, 12)}
    (other,) = differences(table, chosen, 0.95, apart).to_dict("records")
    assert not other["same_documents"]
    assert other["high"] - other["low"] > 3 * (row["high"] - row["low"])
    assert differences(table, chosen, 0.95, {}).empty


def test_a_member_that_diverged_is_not_the_best():
    """Catches a dev accuracy from before a member diverged that beats those of all others."""
    table = rows_of(grids.axis("training.seed", (0, 1, 2)), lambda number: 0.5)
    for number in range(3):
        of_member = table["member"] == number
        table.loc[of_member & (table["metric"] == "dev_accuracy"), "value"] = 0.9 - number / 10
    assert best(table)["member"].tolist() == [0]
    table.loc[(table["member"] == 0) & (table["metric"] == "diverged_at"), "value"] = 7
    assert best(table)["member"].tolist() == [1]
    table.loc[table["metric"] == "diverged_at", "value"] = 7
    assert best(table)["member"].tolist() == [0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight_decay": "", "rows": 1}, "a row does not say the weight_decay of its member"),
        ({"width": ""}, "a row does not say the width of its member"),
        ({"member": 2}, "it has rows of member 2, who is none of the group's"),
        ({"metric": "more", "rows": 1}, "member 0 lacks the metric 'accuracy'"),
    ],
)
def test_a_damaged_table_of_a_group_is_left_out(tmp_path, change, words):
    """Catches a damaged cell that ends the tables of all groups, or leaves out a member alone."""
    accuracies = {"attention": {(1e-2, 0): 0.9, (1e-2, 1): 0.2}, "mamba": {(1e-2, 0): 0.6}}
    folder = make_sweep(tmp_path / "sweep", accuracies)
    path = folder.groups()[0].table
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    damage = dict(change)
    rows = table.index[: damage.pop("rows", len(table))]
    if "member" in damage:
        rows = rows[table["member"] == "1"]
    ((column, value),) = damage.items()
    table.loc[rows, column] = str(value)
    table.to_csv(path, index=False)
    found = []
    assert write_tables(folder, lambda _, tables: found.append(tables)) == 1
    (reason,) = found[0].left_out.values()
    assert words in reason
    assert set(found[0].members["group"]) == {folder.groups()[1].name}


def test_a_table_that_was_cut_or_saved_by_a_spreadsheet(tmp_path):
    """Catches a share of success over fewer members than were trained, and a 1.0 for a member 1."""
    accuracies = {"attention": {(1e-2, 0): 0.9, (1e-2, 1): 0.2}, "mamba": {(1e-2, 0): 0.6}}
    folder = make_sweep(tmp_path / "sweep", accuracies)
    path, found = folder.groups()[0].table, []
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.assign(member=table["member"] + ".0").to_csv(path, index=False)
    numbers = read_members(folder.groups()[0])["member"]
    assert [folder.groups()[0].member(number).name for number in set(numbers)] == ["0000", "0001"]
    assert write_tables(folder, lambda _, tables: found.append(tables)) == 3
    assert found.pop().members["member"].is_monotonic_increasing
    table[table["member"] == "0"].to_csv(path, index=False)
    assert write_tables(folder, lambda _, tables: found.append(tables)) == 1
    (reason,) = found[0].left_out.values()
    assert "it lacks member 1 of the group" in reason
