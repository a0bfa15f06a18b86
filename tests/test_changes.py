"""Changes of a sweep's members: of files, of the command line, and of options of mixers."""

import json
import pathlib

import pytest

from configs import grids, recall
from mecheval_jax.changes import changed_sections, changes_of_file, changes_of_grid
from mecheval_jax.errors import UserError
from mecheval_jax.sweeps.plan import plan, plan_of


def test_grid_of_the_command_line():
    """Catches values read as text, and an order in which the first field is the fastest."""
    config = recall.get_config()
    grid = ["training.learning_rate=1e-3,1e-2", "training.seed=0,1", "training.training_batches=3"]
    changes = changes_of_grid(grid, config)
    assert [c["training.seed"] for c in changes] == [0, 1, 0, 1]
    assert [c["training.learning_rate"] for c in changes] == [1e-3, 1e-3, 1e-2, 1e-2]
    assert all(c["training.training_batches"] == 3 for c in changes)
    assert changes_of_grid(grid[:2], config.to_dict()) == changes_of_grid(grid[:2], config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.seed", "field=value"),
        ("training.seed=", "field=value"),
        ("training.sed=1", "'sed'.*'seed'"),
        ("seed=1", "'seed' is a field without its section: evaluation.seed or task.seed or"),
        ("traning.seed=1", "unknown section 'traning'.*'training'"),
        ("training.seed=a", "seed is 'a': it takes a whole number"),
        ("model.tied=yes", "tied is 'yes': it takes True or False"),
        ("evaluation.roles=key", r"roles takes a tuple: vary it in sweep\(\)"),
        ("model.mixer.d_conv=2", r"unknown field of model 'mixer\.d_conv'"),
    ],
)
def test_mistakes_in_a_grid(text, message):
    """Catches a traceback for a typo."""
    with pytest.raises(UserError, match=message):
        changes_of_grid([text], recall.get_config())


def test_options_of_a_mixer_are_varied_each():
    """Catches options that replace one another, and values that stay texts."""
    config = recall.get_config("mixer=mamba")
    config.model.mixer_options.d_state = 4
    options = "model.mixer_options"
    changes = changes_of_grid([f"{options}.d_conv=2,4", f"{options}.gated=True,False"], config)
    assert changes[0] == {f"{options}.d_conv": 2, f"{options}.gated": True}
    sweep = plan(config, changes)
    found = [group.experiments[0].model.mixer_options for group in sweep.groups]
    assert list(map(dict, found)) == [
        {"d_state": 4, "d_conv": taps, "gated": gated} for taps in (2, 4) for gated in (True, False)
    ]
    again = plan_of(json.loads(json.dumps(sweep.as_dict())), pathlib.Path("sweep.json"))
    assert again.experiments == sweep.experiments
    for wrong, message in (
        (f"{options}.d_cnov=2", r"has no option 'd_cnov': valid are bias"),
        (f"{options}.d_conv=two", r"d_conv is 'two': it takes a number"),
        (f"{options}.d_state=two", r"d_state is 'two': it takes a number"),
    ):
        with pytest.raises(UserError, match=message):
            plan(config, changes_of_grid([wrong], config))


def test_a_field_twice_in_a_grid():
    """Catches values that are dropped without a word."""
    with pytest.raises(UserError, match=r"training\.seed is there twice"):
        changes_of_grid(["training.seed=0", "training.seed=1"], recall.get_config())


def test_sweep_of_a_file(tmp_path):
    """Catches a file whose sweep is something else."""
    assert changes_of_file("configs/recall.py:smoke=True") == recall.sweep()
    for text, message in (
        ("", "no function sweep"),
        ("def sweep():\n    return {}\n", "must give a list of dicts"),
        ("def sweep():\n    return [1]\n", "must give a list of dicts"),
        ("def sweep(arg):\n    return []\n", r"without arguments, def sweep\(\) \(missing a"),
        ("sweep = [{}]\n", r"without arguments, def sweep\(\) \(.* is not a callable"),
    ):
        (tmp_path / "own.py").write_text(text)
        with pytest.raises(UserError, match=message):
            changes_of_file(str(tmp_path / "own.py"))


def test_lists_that_cannot_be_zipped():
    """Catches a sweep cut to the shorter list."""
    with pytest.raises(UserError, match="lists of 2, 3"):
        grids.zipped(grids.seeds(2), grids.seeds(3))
    assert grids.zipped(grids.axis("a.b", (1, 2)), grids.axis("a.c", (3, 4))) == [
        {"a.b": 1, "a.c": 3},
        {"a.b": 2, "a.c": 4},
    ]
    assert len(grids.chain(grids.seeds(2), grids.seeds(3))) == 5


OPTIONS = "model.mixer_options"


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({f"{OPTIONS}.d_conv": 2, OPTIONS: {"d_state": 4}}, {"d_conv": 2, "d_state": 4}),
        ({OPTIONS: {"d_state": 4}, f"{OPTIONS}.d_conv": 2}, {"d_conv": 2, "d_state": 4}),
        ({f"{OPTIONS}.kernel": "implicit"}, {"d_conv": 3, "kernel": "implicit"}),
        ({f"{OPTIONS}.d_conv": [2, 4]}, {"d_conv": [2, 4]}),
    ],
)
def test_options_and_all_of_them(change, wanted):
    """Catches an option that is lost to its field, and a type that only the mixer knows."""
    sections = {"model": {"mixer_options": {"d_conv": 3}}}
    changed, typed = changed_sections(sections, change)
    assert changed["model"]["mixer_options"] == wanted
    assert typed == change
    assert sections == {"model": {"mixer_options": {"d_conv": 3}}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({OPTIONS: 3, f"{OPTIONS}.d_conv": 2}, r"mixer_options is 3: give options by name"),
        ({f"{OPTIONS}.": {"d_conv": 2}}, r"unknown field of model 'mixer_options\.'"),
        ({"training.seed": 1}, r"config section 'training' is None: give its fields by name"),
    ],
)
def test_changes_that_cannot_be(change, message):
    """Catches a traceback."""
    sections = {"model": {"mixer_options": 5}, "training": None}
    with pytest.raises(UserError, match=message):
        changed_sections(sections, change)
