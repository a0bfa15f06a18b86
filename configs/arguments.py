"""Arguments after the name of a config file: ``configs/recall.py:mixer=mamba,width=64``."""

from typing import Any

from ml_collections import ConfigDict

from mecheval_jax.errors import UserError, choose
from mecheval_jax.mixers.architectures import positions_of

COMMON = {
    "mixer": "attention",
    "width": 64,
    "layers": 2,
    "learning_rate": 1e-3,
    "steps": 3000,
    "seed": 0,
    "smoke": False,
}
"""Arguments of every config, with defaults that a config may replace."""


def parse(text: str, defaults: dict[str, Any]) -> dict[str, Any]:
    """Values of arguments.

    Args:
        text: Arguments as ``name=value``, separated by commas. A value of ``mixer`` may be one
            for each layer, ``mixer=mamba,attention``.
        defaults: Values of the arguments that `text` leaves out; they set the types.

    Raises:
        UserError: If a name is unknown, or a value has another type.
    """
    values, name = dict(defaults), ""
    for part in filter(None, text.split(",")):
        if "=" not in part and name == "mixer":
            values[name] += f",{part}"
            continue
        name, given, value = part.partition("=")
        if not given:
            raise UserError(f"config argument {part!r}: write name=value, separated by commas")
        choose("config argument", name, defaults)
        values[name] = _read(name, value, type(defaults[name]))
    return values


def _read(name: str, value: str, kind: type) -> Any:
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise UserError(f"config argument {name}={value}: True or False")
        return value.lower() == "true"
    try:
        return kind(value)
    except ValueError:
        wanted = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise UserError(f"config argument {name}={value}: it takes {wanted}") from None


def at_least_one(arguments: dict[str, Any], *names: str) -> None:
    """Check that arguments that count something are 1 or more.

    Raises:
        UserError: If one is less.
    """
    for name in names:
        if arguments[name] < 1:
            raise UserError(f"config argument {name}={arguments[name]}: at least 1")


def apply(config: ConfigDict, arguments: dict[str, Any]) -> ConfigDict:
    """Set the fields that the arguments of `COMMON` stand for, and return the config."""
    config.model.mixer = arguments["mixer"]
    config.model.width = arguments["width"]
    config.model.layers = arguments["layers"]
    config.model.positions = positions_of(arguments["mixer"])
    config.training.learning_rate = arguments["learning_rate"]
    config.training.steps = arguments["steps"]
    config.training.seed = arguments["seed"]
    config.training.data_seed = arguments["seed"]
    if arguments["smoke"]:
        make_small(config)
    return config


def make_small(config: ConfigDict) -> None:
    """Turn a config into a run of a few seconds, which learns nothing."""
    config.training.steps = 20
    config.training.evaluate_every = 10
    config.training.steps_per_dispatch = 10
    config.evaluation.documents = 32
    config.evaluation.resamples = 200
