"""The options of a mixer are the fields of its class: their names, types and values."""

import dataclasses
import math
import typing
from collections.abc import Collection
from typing import Any

import flax.linen as nn

from mecheval_jax.errors import UserError

ZERO = ("kernel", "d_conv", "dt_rank", "key_heads", "window")
"""Counts that may be 0, for none or for a default; others are at least 1."""


def fields_of(mixer: type[nn.Module]) -> dict[str, Any]:
    """Name and type of each field that a mixer class is built from."""
    types = typing.get_type_hints(mixer)  # also of annotations that are kept as text
    names = [field.name for field in dataclasses.fields(mixer)]
    return {name: types.get(name) for name in names if name not in ("parent", "name")}


def require_all(name: str, mixer: type[nn.Module], given: Collection[str]) -> None:
    """Raise UserError if a field without a default is not among those given."""
    missing = dataclasses.MISSING
    lacking = [
        field.name
        for field in dataclasses.fields(mixer)
        if field.default is missing and field.default_factory is missing
        if field.name not in given
    ]
    if lacking:
        raise UserError(f"mixer {name!r} lacks a value for {', '.join(lacking)}")


def checked(option: str, value: Any, kind: Any) -> Any:
    """A value of a field's type.

    Raises:
        UserError: it is not.
    """
    given = f"model.mixer_options.{option} is {value!r}"
    if kind is bool:
        if not isinstance(value, bool):
            raise UserError(f"{given}: True or False")
    elif kind is str:
        if not isinstance(value, str):
            raise UserError(f"{given}: it takes a name")
    elif isinstance(value, str):
        if kind in (int, float):
            raise UserError(f"{given}: it takes a number")
    elif kind is float:
        if not _is_number(value) or value <= 0:
            raise UserError(f"{given}: a positive number")
    elif kind in (int, int | str):
        smallest = 0 if option in ZERO else 1
        if not _is_number(value) or value != int(value) or value < smallest:
            raise UserError(f"{given}: a whole number, at least {smallest}")
        return int(value)
    return value


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value)
