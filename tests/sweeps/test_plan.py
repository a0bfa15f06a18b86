"""What a sweep consists of, and what it cannot."""

import json
import os
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from configs import grids
from mecheval_jax.errors import UserError
from mecheval_jax.files import write_text
from mecheval_jax.store.sweep_folder import GroupStatus, SweepFolder
from mecheval_jax.sweeps.plan import (
    GroupPlan,
    Sweep,
    open_folder,
    parse_shard,
    plan,
    plan_of,
    shape_of,
)
from mecheval_jax.training.state import HYPERPARAMETERS
from tests.support import small

BASE = small.experiment().as_dict()


def test_groups_hold_what_one_program_can_train():
    """Catches members of different shapes in one program, and one shape in two."""
    changes = grids.product(
        grids.mixers(("based", "mamba")),
        grids.axis("training.learning_rate", (1e-3, 1e-2)),
        [{}, {"training.steps": 10}, {"training.weight_decay": 0.1, "training.beta2": 0.5}],
        grids.seeds(2),
    )
    sweep = plan(BASE, changes)
    assert [group.members for group in sweep.groups] == [tuple(range(12)), tuple(range(12, 24))]
    for group in sweep.groups:
        assert len({shape_of(experiment) for experiment in group.experiments}) == 1
        for number, experiment in zip(group.members, group.experiments, strict=True):
            assert experiment.training.seed == changes[number]["training.seed"]
            assert experiment.training.steps == changes[number].get("training.steps", 20)


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("training", "batch_size", 4),
        ("training", "warmup_fraction", 0.3),
        ("training", "target_accuracy", 0.5),
        ("training", "training_batches", 3),
        ("model", "layers", 1),
        ("task", "pairs", 3),
        ("evaluation", "documents", 8),
    ],
)
def test_another_shape_is_another_group(section, field, value):
    """Catches a field that is baked into the program and taken for data."""
    assert field not in HYPERPARAMETERS
    sweep = plan(BASE, [{}, {f"{section}.{field}": value}])
    assert len(sweep.groups) == 2
    assert str(value) in sweep.groups[1].title


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], "no members"),
        ([{}, {"training.sed": 1}], r"member 1 \(training.sed=1\).*'seed'"),
        ([{"trainin.seed": 1}], "'trainin'.*'training'"),
        ([{"model.mixer": "mambo"}], r"member 0 .*'mambo'.*'mamba'"),
        ([{}, {"training.learning_rate": -1.0}], "member 1 .*learning_rate is -1"),
        ([{"training.seed": 1}, {"training.seed": 0}, {}], "members 1 and 2 are the same run"),
        ([{}, {"training.learning_rate": "1e-3"}], "member 1 .*is '1e-3': it takes a number"),
        ([{"training.seed": 1.5}], r"seed is 1\.5: it takes a whole number"),
        ([{"model.width": True}], "width is True: it takes a whole number"),
        ([{"training.seed": None}], "member 0 .*training.seed is None: it takes"),
    ],
)
def test_sweeps_that_cannot_be(changes, message):
    """Catches a mistake in the last member that is found after the first was trained."""
    with pytest.raises(UserError, match=message):
        plan(BASE, changes)


def test_members_that_are_computed_alike():
    """Catches one run that counts twice, because it is written in two ways."""
    for field, one, other in (
        ("training.target_accuracy", 1, 1.0),
        ("training.learning_rate", 1e-3, 0.00100000001),
    ):
        with pytest.raises(UserError, match="members 0 and 1 are the same run"):
            plan(BASE, [{field: one}, {field: other}])


def test_no_two_groups_have_one_title():
    """Catches two rows of the live view that nobody can tell apart."""
    sweep = plan(BASE, [{"training.target_accuracy": 0.9}, {"training.target_accuracy": None}])
    assert sweep.groups[1].title.endswith("training.target_accuracy None")
    roles = ("key", "value", "next_key", "query", "divider", "value+2")
    changes = [{"evaluation.roles": roles[: 5 + n]} for n in range(2)]
    titles = [group.title for group in plan(BASE, [{}, *changes]).groups]
    assert len(set(titles)) == 3


def test_titles_leave_out_what_no_number_depends_on():
    """Catches groups of the study that seem to differ by how often they are saved."""
    saved = {"training.checkpoint_every": 7}
    first, other = plan(BASE, [{}, {"task.pairs": 3} | saved]).groups
    assert other.title == f"{first.title}, task.pairs 3"
    second = plan(BASE, [{}, saved]).groups[1]
    assert "checkpoint_every" not in second.title
    assert second.title != first.title


def test_values_have_their_fields_types():
    """Catches 1 and 1.0 that seem to be two values of a field, in what is kept and in tables."""
    changes = plan(BASE, [{"training.learning_rate": 1, "model.width": 16.0}]).changes
    assert repr(changes[0]) == "{'training.learning_rate': 1.0, 'model.width': 16}"


def test_values_that_numpy_made(tmp_path):
    """Catches numbers that JSON cannot hold, found when the folder is made already."""
    seeds = grids.axis("training.seed", np.arange(2))
    sweep = plan(BASE, grids.product(grids.axis("training.learning_rate", jnp.ones(1)), seeds))
    assert sweep.changes[1] == {"training.learning_rate": 1.0, "training.seed": 1}
    folder = SweepFolder(tmp_path / "sweep")
    open_folder(folder, sweep)
    assert plan_of(folder.read(), folder.sweep) == sweep
    base = BASE | {"evaluation": BASE["evaluation"] | {"documents": np.int64(8)}}
    assert plan(base, [{}]).base["evaluation"]["documents"] == 8


def test_what_a_folder_names_wrongly(tmp_path):
    """Catches a field that somebody changed in a folder, looked for in the config file."""
    content = {"base": {**BASE, "training": BASE["training"] | {"stepps": 1}}, "members": [{}]}
    with pytest.raises(UserError, match=r"/sweep\.json: member 0 .*unknown field .* 'stepps'"):
        plan_of(content, tmp_path / "sweep.json")


def test_a_folder_holds_one_sweep(tmp_path):
    """Catches results of two sweeps in one folder, and a plan that changes on disk."""
    sweep = plan(BASE, grids.seeds(3))
    folder = SweepFolder(tmp_path / "sweep")
    open_folder(folder, sweep)
    open_folder(folder, sweep)
    folder.sweep.unlink()
    open_folder(folder, sweep)  # killed before it was written, or another shard is about to
    assert plan_of(folder.read(), folder.sweep) == sweep
    assert json.loads(folder.provenance.read_text())["config_hash"]
    for other, message in (
        (grids.seeds(2), "another sweep .*3 members there and 2 here"),
        (
            [*grids.seeds(2), {"training.seed": 7}],
            "another sweep .*training.data_seed is 2 there and 0 here",
        ),
    ):
        with pytest.raises(UserError, match=message):
            open_folder(folder, plan(BASE, other))
    # The groups are those of the other order, and the numbers of their members are not.
    axes = grids.mixers(("based", "mamba")), grids.seeds(2)
    crossed = SweepFolder(tmp_path / "crossed")
    open_folder(crossed, plan(BASE, grids.product(*axes)))
    with pytest.raises(UserError, match="the same members, in another order"):
        open_folder(crossed, plan(BASE, grids.product(*axes[::-1])))
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").touch()
    with pytest.raises(UserError, match="holds no sweep"):
        open_folder(SweepFolder(tmp_path / "run"), sweep)
    with pytest.raises(UserError, match="is a file"):
        open_folder(SweepFolder(tmp_path / "run/config.json"), sweep)
    with pytest.raises(UserError, match=r"no sweep\.json"):
        SweepFolder(tmp_path / "run").groups()
    with pytest.raises(UserError, match="'groop'"):
        sweep.chosen(["groop"])
    with pytest.raises(UserError, match="no group is named"):
        sweep.chosen([])
    (name, *_) = (group.name for group in sweep.groups)
    assert [group.name for group in sweep.chosen([name, name])] == [name]
    folder.sweep.write_text("{}")
    with pytest.raises(UserError, match=r"sweep\.json is damaged: it lacks 'base'"):
        folder.groups()


def test_shards_that_begin_at_once(tmp_path, monkeypatch):
    """Catches a folder that another shard fills between two looks at it."""
    sweep, folder = plan(BASE, grids.seeds(3)), SweepFolder(tmp_path / "sweep")
    exists = pathlib.Path.exists

    def exists_later(path):
        found = exists(path)
        if path == folder.sweep:
            monkeypatch.setattr(pathlib.Path, "exists", exists)
            open_folder(folder, sweep)
            folder.group(sweep.groups[0].name).write_status(GroupStatus())
        return found

    monkeypatch.setattr(pathlib.Path, "exists", exists_later)
    open_folder(folder, sweep)
    assert plan_of(folder.read(), folder.sweep) == sweep


def test_processes_that_write_one_file_at_once(tmp_path, monkeypatch):
    """Catches a draft that two shards share, and that one of them takes from the other."""
    replace = pathlib.Path.replace

    def replace_later(path, target):
        monkeypatch.setattr(pathlib.Path, "replace", replace)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        write_text(target, "other")
        return replace(path, target)

    monkeypatch.setattr(pathlib.Path, "replace", replace_later)
    write_text(tmp_path / "table.csv", "ours")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("table.csv", "ours")]


def test_shards_are_counted_as_slurm_does():
    """Catches a last shard that is refused, or one that nobody takes."""
    assert [parse_shard(f"{i}/3") for i in range(3)] == [(0, 3), (1, 3), (2, 3)]
    for text in ("3/3", "1", "1/", "/3", "-1/3", "a/3", "0/0", "1/3/5", "", "0/" + 5000 * "9"):
        with pytest.raises(UserError, match="from 0 to n - 1"):
            parse_shard(text)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_all_and_no_group_twice(count):
    """Catches groups that no shard, or two, would train; and all dear ones in one shard."""
    costs = {"a": 50, "b": 40, "c": 30, "d": 30, "e": 10}
    groups = [GroupPlan(n, "", (0,), (small.experiment(steps=cost),)) for n, cost in costs.items()]
    sweep = Sweep({}, (), tuple(groups))

    def share(shard):
        return [group.name for group in sweep.chosen(None, shard)]

    shares = [share((index, count)) for index in range(count)]
    assert sorted(name for names in shares for name in names) == list(costs)
    loads = [sum(costs[name] for name in names) for names in shares]
    assert max(loads) - min(loads) <= max(costs.values())
    assert all(names == [name for name in costs if name in names] for names in shares)
    if count == 2:
        assert sorted(loads) == [80, 80]
    assert share((10**12 - 1, 10**12)) == []
