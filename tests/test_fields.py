"""Fields of configs have values of their types, and numbers that can be."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.experiment import Experiment
from mecheval_jax.fields import (
    SHARE,
    Section,
    field_value,
    field_value_of_text,
    numbers_of_texts,
    types_of,
)
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.tasks import TASKS
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from mecheval_jax.training.config import TrainingConfig

WHOLE = "a whole number, at most 2147483647"


@dataclasses.dataclass(frozen=True)
class Some(Section, section="s"):
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
        Some(**{field: value})


def test_numbers_of_numpy_become_pythons_own():
    """Catches a number in a section that JSON cannot hold."""
    some = Some(steps=np.int32(4), on=np.bool_(True), options={"a": [np.float32(0.5), "b"]})
    assert (type(some.steps), some.on, type(some.options["a"][0])) == (int, True, float)
    assert some.options == {"a": [0.5, "b"]}
    assert field_value("seed", np.int64(3), int) == 3


@dataclasses.dataclass(frozen=True)
class OfSettings(MultiQueryRecall):
    """The task, whose constructor is not told the types of its arguments by the tests."""


def test_lists_become_what_can_be_hashed():
    """Catches a task made in Python with a list, whose documents end in an error about hashes."""
    assert Some(names=["a", "b"]).names == ("a", "b")
    # As `--config.s.names=a,b` gives them.
    assert Some(names=("a,b",)).names == ("a", "b")
    assert Some(name="a,b", names=()).name == "a,b"
    task = OfSettings(vocabulary=32, lengths=[16], pairs=[2])
    assert hash(task) == hash(OfSettings(vocabulary=32, lengths=(16,), pairs=(2,)))
    assert task.lengths == (16,)


@pytest.mark.parametrize(
    ("field", "values", "takes"),
    [
        (
            "steps",
            ("3", 1.0, None, True, 2**31, 10**5000, [1]),
            "a whole number, at most 2147483647",
        ),
        ("rate", ("3", None, True, float("nan"), float("inf"), 10**400), "a finite number"),
        ("rate", (1e-320, -1e-39), "a finite number, 0 or at least 1.2e-38"),
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
            Some(**{field: value})
        assert str(error.value).startswith(f"s.{field} is ")
        assert str(error.value).endswith(f": it takes {takes}")
        assert len(str(error.value)) < 200


@dataclasses.dataclass(frozen=True)
class Ruled(Section, section="task"):
    pairs: int = 1
    queries: int = 1
    share: float = 0.5
    names: tuple[str, ...] | None = None

    def check(self):
        self.at_least(1, "pairs", "queries")
        self.require(SHARE, "share")
        self.some("names")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"queries": 0}, "task.queries is 0: it must be at least 1"),
        ({"share": 1.0}, "task.share is 1.0: it must be between 0 and 1"),
        ({"names": ()}, "task.names is empty: name at least one"),
    ],
)
def test_rules_of_fields(wrong, message):
    """Catches a bound that is excluded, and a message that names another field."""
    Ruled()
    with pytest.raises(UserError) as error:
        Ruled(**wrong)
    assert str(error.value) == message


def test_values_of_texts():
    """Catches a number that stays a text, and a text that becomes another value."""
    assert field_value_of_text("n", "1e3", float) == 1000
    assert field_value_of_text("n", "None", int) is None
    assert field_value_of_text("n", "False", bool) is False
    assert field_value("n", 3.0, int) == 3
    assert field_value_of_text("n", "3", int | None) == 3
    assert field_value_of_text("n", "1,2", tuple[int, ...] | None) == (1, 2)
    assert field_value_of_text("n", "a", tuple[str, ...]) == ("a",)
    assert field_value_of_text("n", "None", tuple[int, ...] | None) is None
    wrong = (("x", int), ("1.5", int), ("yes", bool), ("x", float), ("1,x", tuple[int, ...]))
    for text, kind in wrong:
        with pytest.raises(UserError, match=r"n is .*: it takes"):
            field_value_of_text("n", text, kind)
    assert field_value("n", 10**400, int) == 10**400
    with pytest.raises(UserError, match="it takes a number"):
        field_value("n", 10**400, float)
    for number in (float("inf"), float("nan")):
        with pytest.raises(UserError, match="a whole number"):
            field_value("n", number, int)


def test_every_section_of_an_experiment_is_checked():
    """Catches a section, or a task, whose fields take anything."""

    def sections(kind):
        yield kind
        for one in types_of(kind).values():
            if dataclasses.is_dataclass(one):
                yield from sections(one)

    of_experiment = [kind for kind in sections(Experiment) if kind is not Experiment]
    assert len(of_experiment) >= 10
    for kind in (*of_experiment, *TASKS.values()):
        assert issubclass(kind, Section), kind
        assert kind.__post_init__ is Section.__post_init__, kind


def test_rules_of_a_section_come_behind_its_types():
    """Catches a section that forgets the types, and rules that see values of other types."""
    with pytest.raises(TypeError, match="give them in check"):

        class Forgetful(Section, section="s"):
            def __post_init__(self):
                pass


def test_no_field_is_named_like_a_method_of_a_config():
    """Catches a field that no flag can set, since ``config.task.keys`` is a method."""
    sections = [*TASKS.values(), ModelConfig, TrainingConfig, EvaluationConfig]
    named = {field.name for section in sections for field in dataclasses.fields(section)}
    assert not named & set(dir(ConfigDict))


@pytest.mark.parametrize("texts", [["8", "x"], ["0"], ["-1"]])
def test_numbers(texts):
    with pytest.raises(UserError, match=f"--widths={','.join(texts)}"):
        numbers_of_texts("--widths", texts, int)
    assert numbers_of_texts("--widths", ["8", "16"], int) == (8, 16)
    with pytest.raises(UserError, match="inf is no finite number above 0"):
        numbers_of_texts("--budget", ["inf"], float)
