"""A collection of models that were trained to known mechanisms, as two files.

``NAME.safetensors`` holds the parameters as float16, each under ``model/path/of/parameter``;
``NAME.json`` the task, and for every model its shape, mechanism and seed:

    {"task": {"pairs": 4, ...},
     "models": {"mamba to induction, seed 0":
                {"mechanism": "induction", "seed": 0, "config": {"mixer": "mamba", ...}}}}

Other tools can read both, and be tested on models whose mechanism is known.
"""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from mecheval_jax import trust
from mecheval_jax.array_types import Array, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.fields import built
from mecheval_jax.files import read_json, write_json
from mecheval_jax.ground_truth.mechanisms import rules_of
from mecheval_jax.interop.safetensors_file import load_safetensors, save_safetensors
from mecheval_jax.models.language_model import ModelConfig, parameter_shapes
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall

FORM = {"task": dict, "models": {...: {"mechanism": str, "seed": int, "config": dict}}}
SUFFIX = ".safetensors"


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A model that was trained to a mechanism.

    Attributes:
        mechanism: Name in `mechanisms.MECHANISMS`.
        seed: Seed of its initialisation and documents.
        config: Shape of the model.
        params: Parameters of the model.
        task: Task on which it was trained.
    """

    mechanism: str
    seed: int
    config: ModelConfig
    params: PyTree
    task: AssociativeRecall

    @property
    def name(self) -> str:
        """Name in the collection."""
        return f"{self.config.mixer} to {self.mechanism}, seed {self.seed}"


def save_collection(path: str | os.PathLike, models: Iterable[Trained]) -> None:
    """Write models of one task, replacing what is there.

    Args:
        path: Path of the safetensors file; the other one lies beside it.
        models: Models, at least one.

    Raises:
        UserError: If there are no models, or two of one name, the name of the file has another
            ending, or safetensors is not installed.
    """
    path, listed = _checked(path), list(models)
    if not listed:
        raise UserError("no models: a collection holds at least one")
    _check_names(listed, str(path))
    arrays = {
        f"{model.name}/{name}": np.asarray(leaf, np.float16)
        for model in listed
        for name, leaf in flatten_dict(model.params, sep="/").items()
    }
    about = {
        model.name: {
            "mechanism": model.mechanism,
            "seed": model.seed,
            "config": dataclasses.asdict(model.config),
        }
        for model in listed
    }
    save_safetensors(path, arrays, overwrite=True)
    task = dataclasses.asdict(listed[0].task)
    write_json(path.with_suffix(".json"), {"task": task, "models": about})


def load_collection(path: str | os.PathLike) -> list[Trained]:
    """Read the models that `save_collection` wrote, with float32 parameters.

    Raises:
        UserError: If a file is missing or damaged, the two do not belong together, or the mixer of
            a model is code that its user has neither used nor allowed (`trust`).
    """
    path = _checked(path)
    about, arrays = read_json(path.with_suffix(".json"), FORM), load_safetensors(path)
    task, found = built(AssociativeRecall, about["task"], f"{path}: task"), []
    if not about["models"]:
        raise UserError(f"{path.with_suffix('.json')} lists no models")
    prefixes = tuple(f"{name}/" for name in about["models"])
    if foreign := [entry for entry in arrays if not entry.startswith(prefixes)]:
        raise UserError(f"{path} has {foreign[0]!r}, of a model that the .json does not list")
    for name, values in about["models"].items():
        trust.check(values["config"].get("mixer"), path.with_suffix(".json"))
        config = built(ModelConfig, values["config"], f"{path}: {name}")
        rules_of(config, values["mechanism"], task.usual_length)
        if task.vocabulary_size > config.vocabulary_size or task.max_length > config.max_length:
            raise UserError(
                f"{path}: {name} reads {config.max_length} tokens of {config.vocabulary_size}: the "
                f"task has {task.max_length} of {task.vocabulary_size}"
            )
        own = {
            entry.removeprefix(f"{name}/"): jnp.asarray(array, jnp.float32)
            for entry, array in arrays.items()
            if entry.startswith(f"{name}/")
        }
        if not own:
            raise UserError(f"{path} lacks the parameters of {name!r}, which the .json lists")
        check_parameters(own, config, f"{path}: {name}")
        params = unflatten_dict(own, sep="/")
        found.append(Trained(values["mechanism"], values["seed"], config, params, task))
    _check_names(found, str(path))
    return found


def _check_names(models: Iterable[Trained], where: str) -> None:
    """Refuse models of one name, of which results would be taken for those of the other."""
    counts = collections.Counter(model.name for model in models)
    name, count = counts.most_common(1)[0]
    if count > 1:
        raise UserError(
            f"{where}: {count} models are {name!r}: a collection has one of each mixer, mechanism "
            "and seed"
        )


def check_parameters(
    given: Mapping[str, Array | np.ndarray], config: ModelConfig, where: str
) -> None:
    """Raise UserError unless these are parameters of such a model, by their paths, and finite."""
    expected = {
        path: leaf.shape for path, leaf in flatten_dict(parameter_shapes(config), sep="/").items()
    }
    shapes = {path: leaf.shape for path, leaf in given.items()}
    if wrong := sorted(expected.items() ^ shapes.items()):
        path, _ = wrong[0]
        raise UserError(
            f"{where}: parameter {path} is {shapes.get(path, 'absent')}, and "
            f"{expected.get(path, 'absent')} in a model of its config"
        )
    for path, leaf in given.items():
        if not np.isfinite(leaf).all():
            raise UserError(f"{where}: parameter {path} has a value that is not finite")


def _checked(path: str | os.PathLike) -> pathlib.Path:
    path = pathlib.Path(path)
    if path.suffix != SUFFIX:
        raise UserError(f"{path}: a collection ends in {SUFFIX}")
    return path
