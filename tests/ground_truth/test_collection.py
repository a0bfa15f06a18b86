"""Collections of trained models: what is kept is read again, and damage is named."""

import json

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.ground_truth.collection import Trained, load_collection, save_collection
from mecheval_jax.interop.safetensors_file import load_safetensors, save_safetensors
from tests.support import planted


@pytest.fixture
def path(tmp_path):
    models = []
    for seed in (0, 1):
        config, params, task = planted.lively("attention", seed, width=8, feed_forward="none")
        models.append(Trained("induction", seed, config, params, task))
    save_collection(tmp_path / "models.safetensors", models)
    return tmp_path / "models.safetensors"


def test_what_is_saved_is_read(path):
    """Catches parameters of another model, and a config that is lost."""
    first, second = load_collection(path)
    config, params, task = planted.lively("attention", 1, width=8, feed_forward="none")
    assert second.config == config
    assert (second.task, second.seed, second.mechanism) == (task, 1, "induction")
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6),
        second.params,
        params,
    )
    assert first.name == "attention to induction, seed 0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["models"].clear() or a["models"].update(x=3), r"models.* is 3"),
        (lambda a: a["task"].update(pairs=0), r"task.pairs is 0"),
        (lambda a: _first(a)["config"].update(depth=3), r"'depth'"),
        (lambda a: _first(a).update(mechanism="recall"), r"unknown mechanism 'recall'"),
        (lambda a: _first(a)["config"].update(layers=1), r"binds in one layer"),
        (lambda a: a["models"].update(other=_first(a)), r"lacks the parameters of 'other'"),
        (lambda a: a["models"].clear(), r"lists no models"),
        (lambda a: a["models"].popitem(), r"of a model that the .json does not list"),
        (lambda a: _first(a)["config"].update(mixer="not_mine:M"), r"not_mine:M: .*--allow_code"),
        (lambda a: _first(a)["config"].pop("width"), r"seed 0 lacks width"),
        (lambda a: _first(a)["config"].update(width="8"), r"width is '8': it takes a whole number"),
        (lambda a: _first(a)["config"].update(width=16), r"seed 0: parameter .* in a model of its"),
        (lambda a: a["task"].update(foo=1), r"unknown field of .*task 'foo'"),
        (lambda a: a["task"].update(key_vocabulary=100), r"of 19: the task has 13 of 111"),
    ],
)
def test_damage_is_named(path, change, message):
    """Catches a traceback, and a collection whose two files do not belong together."""
    about = json.loads(path.with_suffix(".json").read_text())
    change(about)
    path.with_suffix(".json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=message):
        load_collection(path)


def test_models_of_one_name_are_refused(path):
    """Catches a model that is judged by the results of another."""
    models = load_collection(path)
    with pytest.raises(UserError, match="2 models are 'attention to induction, seed 0'"):
        save_collection(path, [*models, models[0]])


def test_numbers_that_are_not_finite_are_named(path):
    """Catches a model that is judged on weights which no training left."""
    models = load_collection(path)
    models[1].params["token_embedding"]["embedding"] *= np.nan
    save_collection(path, models)
    with pytest.raises(UserError, match=r"seed 1: parameter token_embedding/embedding has a value"):
        load_collection(path)


def test_a_parameter_inside_another_is_named(path):
    """Catches a traceback of the library that puts paths into a tree."""
    arrays = load_safetensors(path)
    arrays[f"{next(iter(arrays))}/x"] = np.zeros(2, np.float32)
    save_safetensors(path, arrays, overwrite=True)
    with pytest.raises(UserError, match=r"/x is \(2,\), and absent in a model of its config"):
        load_collection(path)


def _first(about):
    return next(iter(about["models"].values()))


def test_what_is_no_collection_is_refused(tmp_path):
    """Catches a file that is written under a name that cannot be read."""
    for ask, message in (
        (lambda: save_collection(tmp_path / "models.npz", []), r"ends in \.safetensors"),
        (lambda: save_collection(tmp_path / "m.safetensors", []), "at least one"),
        (lambda: load_collection(tmp_path / "m.safetensors"), "m.json"),
    ):
        with pytest.raises(UserError, match=message):
            ask()
