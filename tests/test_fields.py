"""Fields of configs have values of their types, and numbers that can be."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.fields import check_fields, field_value, field_value_of_text

WHOLE = "a whole number, at most 2147483647"


@dataclasses.dataclass(frozen=True)
class Section:
    steps: int = 1
    rate: float = 0.5
    name: str = "a"
    on: bool = True
    limit: int | None = None
    names: tuple[str, ...] = ("a",)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data_seed: int = 0


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("steps", (0, -3, 2**31 - 1, np.int32(4))),
        ("rate", (0, 1.5, 10**20, np.float32(0.5))),
        ("limit", (None, 3)),
        ("names", ((), ["a", "b"])),
        ("options", ({}, {"d_state": 4})),
        ("data_seed", (0, 2**32 - 1)),
    ],
)
def test_values_that_can_be(field, values):
    """Catches a check that refuses what a config may say."""
    for value in values:
        check_fields(Section(**{field: value}), "s")


@pytest.mark.parametrize(
    ("field", "values", "takes"),
    [
        (
            "steps",
            ("3", 1.0, None, True, 2**31, 10**5000, [1]),
            "a whole number, at most 2147483647",
        ),
        ("rate", ("3", None, True, float("nan"), float("inf"), 10**400), "a finite number"),
        ("name", (3, None, ["a"]), "a text"),
        ("on", (1, "True", None), "True or False"),
        ("limit", ("3", 1.5), f"{WHOLE} or None"),
        ("names", ("ab", None, 3), "a list"),
        ("names", ([1], ("a", None)), "a list, of which each is a text"),
        ("options", (3, [], {3: 4}), "fields by their names"),
        ("data_seed", (-1, 2**32), "a whole number from 0, at most 4294967295"),
    ],
)
def test_values_that_cannot_be(field, values, takes):
    """Catches a value that is taken, and one that ends in another error than the user's."""
    for value in values:
        with pytest.raises(UserError) as error:
            check_fields(Section(**{field: value}), "s")
        assert str(error.value).startswith(f"s.{field} is ")
        assert str(error.value).endswith(f": it takes {takes}")
        assert len(str(error.value)) < 200


def test_values_of_texts():
    """Catches a number that stays a text, and a text that becomes another value."""
    assert field_value_of_text("n", "1e3", float) == 1000
    assert field_value_of_text("n", "None", int) is None
    assert field_value_of_text("n", "False", bool) is False
    assert field_value("n", 3.0, int) == 3
    for text, kind in (("x", int), ("1.5", int), ("yes", bool), ("x", float)):
        with pytest.raises(UserError, match=r"n is .*: it takes"):
            field_value_of_text("n", text, kind)
    for number in (float("inf"), float("nan")):
        with pytest.raises(UserError, match="a whole number"):
            field_value("n", number, int)
