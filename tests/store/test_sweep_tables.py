"""Tables over all members of a sweep."""

import pandas as pd

from configs import grids
from mecheval_jax.store.sweep_tables import MEMBERS, member_rows, success, with_shapes
from mecheval_jax.sweeps.plan import plan
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
    rates = success(pd.DataFrame(rows, columns=MEMBERS), 0.95, thresholds=(0.9,))
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
