"""Fields of configs: what types and which numbers they take, checked in one place.

A section of a config is a dataclass, and the annotations of its fields say what they take. Whole
numbers are those of devices, 32 bits with a sign; seeds are those of random keys, 32 bits without
one; other numbers are finite. What a single field may be beyond that, its own class says in
`Section.check`.
"""

import collections
import contextlib
import dataclasses
import functools
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from mecheval_jax.errors import UserError, choose, shown

KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
"""Types of fields that have single values, and what they take."""

LARGEST = 2**31 - 1
"""Greatest whole number: steps, tokens and sizes are counted in 32 bits."""

LARGEST_NUMBER = 3.4e38
"""Greatest of other numbers, which devices hold in 32 bits."""

SMALLEST_NUMBER = 1.2e-38
"""Least of their sizes beside 0, which devices make of smaller ones."""

MOST_SEEDS = 1000
"""Greatest number of runs of one kind that a program makes at once."""

LARGEST_SEED = 2**32 - 1
"""Greatest seed."""


Rule = tuple[str, Callable[[Any], bool]]
"""Valid values in words, after "it must be", and whether a value is valid."""

POSITIVE: Rule = ("above 0", lambda value: value > 0)
SHARE: Rule = ("between 0 and 1", lambda value: 0 < value < 1)


def is_held(number: float) -> bool:
    """Whether devices hold a number: it is finite, and 0 there only if it is."""
    # Written so that nan fails, and whole numbers of any length are compared as they are.
    return number == 0 or SMALLEST_NUMBER <= abs(number) <= LARGEST_NUMBER


class Section:
    """Base of the sections of a config, which are frozen dataclasses: none has unchecked fields.

    A subclass says its name where it is defined, ``class TrainingConfig(Section,
    section="training")``, and its own rules in `check`, by `require`, `at_least`, `some` and
    `once`.

    Attributes:
        section: Name of the section, for messages.
    """

    section: ClassVar[str]

    def __init_subclass__(cls, section: str | None = None, **options: Any):
        super().__init_subclass__(**options)
        if section is not None:
            cls.section = section
        if "__post_init__" in vars(cls):  # it would stand in for the check of types
            raise TypeError(
                f"{cls.__name__} has its own rules in __post_init__: give them in check"
            )

    def __post_init__(self):
        for name, value in list(vars(self).items()):
            object.__setattr__(self, name, pythons_own(value))
        check_fields(self, self.section)
        for name, kind in types_of(type(self)).items():
            value = getattr(self, name)
            if isinstance(value, (list, tuple)):  # a frozen section is hashed: no lists
                if tuple_in(kind) == tuple[str, ...]:
                    value = tuple(name for text in value for name in _names_in(text))
                object.__setattr__(self, name, tuple(value))
        self.check()
        self.check_whole()

    def check(self) -> None:
        """Check what fields take beyond their types; a subclass with such fields overrides it.

        Raises:
            UserError: If a field has a value that it does not take.
        """

    def check_whole(self) -> None:
        """Check what follows from fields that are valid; for bases, whose subclasses have `check`.

        Raises:
            UserError: If the fields together make what cannot be.
        """

    def require(self, rule: Rule, *names: str) -> None:
        """Check that fields keep a rule.

        Raises:
            UserError: If a value is not valid; the message names the first.
        """
        valid, holds = rule
        for name in names:
            value = getattr(self, name)
            if not holds(value):
                raise UserError(f"{self.section}.{name} is {value}: it must be {valid}")

    def at_least(self, smallest: int, *names: str) -> None:
        """Check lower bounds of fields; see `require`."""
        self.require((f"at least {smallest}", lambda value: value >= smallest), *names)

    def some(self, *names: str, give: str = "name at least one") -> None:
        """Check that no field is an empty list; `give` says what to write, after a colon."""
        for name in names:
            value = getattr(self, name)
            if value is not None and not value:
                raise UserError(f"{self.section}.{name} is empty: {give}")

    def once(self, *names: str) -> None:
        """Check that fields which are lists name nothing twice; see `check_once`."""
        for name in names:
            check_once(f"{self.section}.{name}", getattr(self, name) or ())


def check_once(name: str, values: Sequence[Any]) -> None:
    """Check that a list names nothing twice: it would be computed twice, or count twice.

    Args:
        name: Name of the field or flag, for the message.
        values: Its values.

    Raises:
        UserError: If a value is there more than once.
    """
    counts = collections.Counter(values)
    twice = [str(value) for value, count in counts.items() if count > 1]
    if twice:
        raise UserError(f"{name} names {', '.join(twice)} twice: once is enough")


def pythons_own(value: Any) -> Any:
    """A value with scalars of numpy or jax, also in lists and mappings, as JSON can hold them."""
    if isinstance(value, Mapping):
        return {name: pythons_own(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return (list if isinstance(value, list) else tuple)(map(pythons_own, value))
    return value.item() if getattr(value, "ndim", None) == 0 else value


def field_value(name: str, value: Any, kind: Any) -> Any:
    """A value as the type of its field; as it is where the field has no single values.

    Raises:
        UserError: If the field cannot take it.
    """
    value = pythons_own(value)
    if value is None or kind not in KINDS:
        return value
    fits = isinstance(value, kind)
    if kind in (int, float):
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind is int:
            fits = fits and (isinstance(value, int) or (math.isfinite(value) and value % 1 == 0))
        elif isinstance(value, int):  # a float may be infinite or no number, but not too large
            fits = fits and abs(value) <= LARGEST_NUMBER
    if not fits:
        raise UserError(f"{name} is {shown(value)}: it takes {KINDS[kind]}")
    return kind(value)


def field_value_of_text(name: str, text: str, kind: Any) -> Any:
    """The value of a field, given as text: a single value, or several between commas.

    Args:
        name: Name of the field, for the message.
        text: The text.
        kind: Type of the field, ``int`` or ``tuple[int, ...] | None``.

    Raises:
        UserError: If the field cannot take it.
    """
    if (of_many := tuple_in(kind)) is not None and text != "None":
        of = typing.get_args(of_many)[0]
        return tuple(field_value_of_text(name, one, of) for one in text.split(","))
    kind = next((one for one in (kind, *typing.get_args(kind)) if one in KINDS), kind)
    words = {"None": None} | ({"True": True, "False": False} if kind is bool else {})
    value = words.get(text, text)
    if value is text and kind is not bool:
        with contextlib.suppress(ValueError):
            value = kind(text)
    return field_value(name, value, kind)


def numbers_of_texts(flag: str, texts: Sequence[str], kind: type) -> tuple[Any, ...]:
    """The numbers of a flag.

    Raises:
        UserError: If one is none, not above 0, or infinite.
    """
    try:
        found = tuple(kind(text) for text in texts)
    except ValueError:
        words = "whole numbers" if kind is int else "numbers"
        raise UserError(f"{flag}={','.join(texts)}: {words}, with commas between them") from None
    for number in found:
        if not 0 < number < float("inf"):
            raise UserError(f"{flag}={','.join(texts)}: {number} is no finite number above 0")
    return found


def check_fields(instance: Any, section: str) -> None:
    """Check that every field of a dataclass has a value of its type, and numbers that can be.

    Args:
        instance: Object whose fields are checked.
        section: Section of the config that the fields belong to, for the message.

    Raises:
        UserError: If one has not; the message names the first.
    """
    kinds = types_of(type(instance))
    check_values(type(instance), {name: getattr(instance, name) for name in kinds}, section)


def check_values(kind: type, values: Mapping[str, Any], section: str) -> None:
    """The same of values that are still to become fields of a dataclass.

    Args:
        kind: The dataclass.
        values: Values of some of its fields, by name.
        section: Section of the config, for the message.

    Raises:
        UserError: If one is not of its type; the message names the first.
    """
    kinds = types_of(kind)
    for name, value in values.items():
        wrong = _mismatch(value, kinds[name], name)
        if wrong:
            raise UserError(f"{section}.{name} is {shown(value)}: it takes {wrong}")


def check_section(name: str, values: Any) -> None:
    """Raise UserError if a section of a config is no mapping from the names of its fields."""
    if not isinstance(values, Mapping):
        raise UserError(f"config section {name!r} is {shown(values)}: give its fields by name")


def built(kind: type, values: Any, section: str) -> Any:
    """A section of a config as the dataclass that checks it; its own sections likewise.

    Args:
        kind: The dataclass.
        values: Values of its fields by name; those with a default may be left out.
        section: Section of the config, for the message.

    Raises:
        UserError: If the section is no mapping, or a field is unknown, missing, or has a value that
            it does not take.
    """
    check_section(section, values)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in values:
        choose(f"field of {section}", name, fields)
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{section} lacks {', '.join(missing)}")

    def value_of(name: str, value: Any) -> Any:
        if dataclasses.is_dataclass(default := fields[name].default):
            return built(type(default), value, f"{section}.{name}")
        value = pythons_own(value)
        return tuple(value) if isinstance(value, list) else value

    found = {name: value_of(name, value) for name, value in values.items()}
    check_values(kind, found, section)
    return kind(**found)


def _names_in(text: str) -> Sequence[str]:
    """Names between commas, as the command line gives them; a list in brackets is left whole."""
    return (text,) if text[:1] in ("(", "[") else between_commas(text)


def between_commas(text: str) -> list[str]:
    """Names between the commas of a text, such as the mixers of a hybrid, without white space."""
    return [name.strip() for name in text.split(",")]


def tuple_in(kind: Any) -> Any:
    """The type of tuples that a field takes, among others as the case may be; None if none."""
    return next((one for one in (kind, *typing.get_args(kind)) if _is_tuple(one)), None)


def _is_tuple(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple


@functools.cache
def types_of(kind: type) -> dict[str, Any]:
    """Types of the fields of a dataclass, by name."""
    types_ = typing.get_type_hints(kind)  # resolves annotations that are strings
    return {field.name: types_[field.name] for field in dataclasses.fields(kind)}


def _mismatch(value: Any, kind: Any, name: str) -> str | None:
    """What a type takes, if it does not take a value."""
    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        wrong = [_mismatch(value, one, name) for one in of]
        return None if None in wrong else " or ".join(filter(None, wrong))
    if kind is type(None):
        return None if value is None else "None"
    if kind is int:
        low, high = (0, LARGEST_SEED) if name.endswith("seed") else (-LARGEST, LARGEST)
        whole = _is_number(value, numbers.Integral)
        words = f"a whole number from {low}" if low == 0 else "a whole number"
        return None if whole and low <= value <= high else f"{words}, at most {high}"
    if kind is float:
        if not _is_number(value, numbers.Real):
            return "a finite number"
        near = "" if not abs(value) < SMALLEST_NUMBER else f", 0 or at least {SMALLEST_NUMBER}"
        return None if is_held(value) else f"a finite number{near}"
    if kind in KINDS:
        return None if isinstance(value, kind) else KINDS[kind]
    if origin is tuple:
        single = of[0] if of[1:] == (...,) else Any
        if not isinstance(value, (tuple, list)):
            return "a list"
        wrong = (_mismatch(one, single, name) for one in value)
        return next((f"a list, of which each is {one}" for one in wrong if one), None)
    if origin in (Mapping, dict) or kind in (Mapping, dict):
        named = isinstance(value, Mapping) and all(isinstance(one, str) for one in value)
        return None if named else "fields by their names"
    if dataclasses.is_dataclass(kind):
        return None if isinstance(value, typing.cast(type, kind)) else "a section of fields"
    return None


def _is_number(value: Any, kind: type) -> bool:
    """Whether a value is a number of Python's or of numpy's; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)
