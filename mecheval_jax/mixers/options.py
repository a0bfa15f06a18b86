"""Options of mixers, which are the fields of their classes: names, types and valid values."""

import dataclasses
import functools
import math
import operator
import typing
from collections.abc import Collection
from typing import Any

import flax.linen as nn

from mecheval_jax.errors import UserError
from mecheval_jax.fields import is_held

ZERO = (
    "layer",
    "canon",
    "kernel",
    "d_conv",
    "dt_rank",
    "key_heads",
    "window",
    "w_rank",
    "a_rank",
    "v_rank",
    "g_rank",
)
"""Fields that may be 0, for none or for a default; of one mixer alone its ``MAY_BE_ZERO``.

Other whole numbers are at least 1.
"""


OPTIONS = "model.mixer_options."
"""Where a config has the fields of mixers."""


def require_heads(width: int, heads: int) -> None:
    """Check that the channels of a mixer are those of whole heads.

    Raises:
        UserError: If the width is not divisible by the number of heads.
    """
    if width % heads:
        raise UserError(
            f"{OPTIONS}heads is {heads}: width {width} is not divisible by {heads} heads; "
            f"it is by {divisors_near(width, heads)}"
        )


def require_inner_heads(name: str, inner: int, head: int, groups: int = 1) -> None:
    """Check that the inner channels of a mixer are those of whole heads, in whole groups.

    Args:
        name: Name of the mixer in messages.
        inner: Number of inner channels.
        head: Number of channels of a head.
        groups: Number of groups of heads.

    Raises:
        UserError: If they are not.
    """
    if inner % head:
        raise UserError(
            f"{name}: {OPTIONS}head_dim is {head}: {inner} inner channels do not divide into heads "
            f"of {head} channels; they do into heads of {divisors_near(inner, head)}"
        )
    heads = inner // head
    if heads % groups:
        raise UserError(
            f"{name}: {OPTIONS}groups is {groups}: the {heads} heads of {head} channels do not "
            f"divide into {groups} groups; they do into {divisors_near(heads, groups)}"
        )


def divisors_near(number: int, value: int) -> str:
    """The divisors of a number that are nearest to a value, at most three, for a message."""
    # Of a number beyond a million squared, which no machine holds, some may be missing.
    tried = range(1, min(math.isqrt(number), 10**6) + 1)
    below = [divisor for divisor in tried if number % divisor == 0]
    divisors = {*below, *(number // divisor for divisor in below)}
    nearest = sorted(divisors, key=lambda divisor: (abs(divisor - value), divisor))[:3]
    return " or ".join(map(str, sorted(nearest)))


@functools.cache
def fields_of(mixer: type[nn.Module]) -> dict[str, Any]:
    """Types of the fields of a mixer class, by name; None where one's own cannot be told."""
    try:
        types = typing.get_type_hints(mixer)  # resolves annotations that are strings
    except Exception:  # of a name that a user's own file imports for its type checker alone
        if is_built_in(mixer):
            raise
        types = {}
    names = [field.name for field in dataclasses.fields(mixer)]
    return {name: types.get(name) for name in names if name not in ("parent", "name")}


def require_all(name: str, mixer: type[nn.Module], given: Collection[str]) -> None:
    """Raise UserError if a field without a default is not among those given.

    Args:
        name: Name of the mixer in messages.
        mixer: Class of the mixer.
        given: Names of the fields that have values.
    """
    missing = dataclasses.MISSING
    lacking = [
        field.name
        for field in dataclasses.fields(mixer)
        if field.default is missing and field.default_factory is missing
        if field.name not in given
    ]
    if lacking:
        raise UserError(f"mixer {name!r} lacks a value for {', '.join(lacking)}")


def is_built_in(module: type[nn.Module]) -> bool:
    """Whether a class of modules is of this package, and not of its user."""
    return module.__module__.partition(".")[0] == __name__.partition(".")[0]


def checked(option: str, value: Any, mixer: type[nn.Module], where: str = OPTIONS) -> Any:
    """The value of a field, checked.

    Args:
        option: Name of the field.
        value: Value that the config gives.
        mixer: Class of the mixer, which has the field.
        where: What stands before the name in messages.

    Raises:
        UserError: If the field cannot have the value.
    """
    kind = fields_of(mixer)[option]
    given = f"{where}{option} is {value!r}"
    if type(None) in (others := typing.get_args(kind)):  # such as float | None
        if value is None:
            return None
        kind = functools.reduce(operator.or_, (one for one in others if one is not type(None)))
    # Beyond the type, what a mixer of one's own may be given is known to its author alone.
    bounded = is_built_in(mixer)
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
        if not _is_number(value) or (bounded and value <= 0):
            raise UserError(f"{given}: a {'positive number' if bounded else 'number'}")
        return float(value)  # devices take no whole number beyond 32 bits
    elif kind in (int, int | str):
        smallest = 0 if option in (*ZERO, *getattr(mixer, "MAY_BE_ZERO", ())) else 1
        if not _is_number(value) or value != int(value) or (bounded and value < smallest):
            least = f", at least {smallest}" if bounded else ""
            raise UserError(f"{given}: a whole number{least}")
        return int(value)
    return value


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and is_held(value)
