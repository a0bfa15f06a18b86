"""Fields of a config.json: their valid values, and the corresponding values of ours."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from mecheval_jax.fields import between_commas

REQUIRED = "required"
"""Default that marks a field which every config.json must have."""


class Values(NamedTuple):
    """The valid values of a field.

    Attributes:
        valid: Description of the valid values, for messages.
        test: Function that tells whether a value is valid.
        names: Pairs of their and our value, where the two differ; of several pairs with the same
            value of ours, the first is written.
    """

    valid: str
    test: Callable[[Any], bool]
    names: tuple[tuple[Any, Any], ...] = ()

    def read(self, value: Any) -> Any:
        """Our value for theirs.

        Raises:
            ValueError: If the value is invalid; the message is `valid`.
        """
        for theirs, ours in self.names:
            if value == theirs:
                return ours
        if not self.test(value):
            raise ValueError(self.valid)
        return value

    def write(self, value: Any) -> Any:
        """Their value for ours."""
        return next((theirs for theirs, ours in self.names if value == ours), value)


class Kinds(NamedTuple):
    """The valid lists of the kinds of layers.

    Attributes:
        names: Pairs of their name of a kind and our name of its mixer.
    """

    names: tuple[tuple[str, str], ...]

    @property
    def valid(self) -> str:
        """Description of the valid lists, for messages."""
        return f"one for each layer, of {', '.join(theirs for theirs, _ in self.names)}"

    def read(self, value: Any) -> str:
        """Our mixers, joined by commas, for their list.

        Raises:
            ValueError: If a kind is unknown; the message is `valid`.
        """
        ours = dict(self.names)
        if not isinstance(value, list) or not value or not set(map(str, value)) <= set(ours):
            raise ValueError(self.valid)
        return ",".join(ours[kind] for kind in value)

    def write(self, value: str) -> list[str]:
        """Their list for our mixers."""
        theirs = {ours: kind for kind, ours in self.names}
        return [theirs[mixer] for mixer in between_commas(value)]


class Field(NamedTuple):
    """A field of config.json.

    Attributes:
        values: Valid values.
        default: Value that the absence of the field means.
        ours: Names of the fields of `ModelConfig` that have its value; options of the mixer
            begin with ``mixer_options.``, and end with ``@`` and our name of a mixer if only its
            layers have the value.
    """

    values: Values | Kinds
    default: Any
    ours: tuple[str, ...] = ()


def field(ours: str, values: Values | Kinds, default: Any = REQUIRED) -> Field:
    """A field of config.json.

    Args:
        ours: Our names, separated by spaces; names of options begin with a dot.
        values: Valid values.
        default: Value that the absence of the field means.
    """
    names = (f"mixer_options{n}" if n.startswith(".") else n for n in ours.split())
    return Field(values, default, tuple(names))


def only(*valid: Any) -> Field:
    """A field whose valid values all mean the same to us; the first is the default."""
    return Field(Values(" or ".join(map(repr, valid)), lambda value: value in valid), valid[0])


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1  # bool is a subclass of int


def _is_positive(value: Any) -> bool:
    # JSON has whole numbers that no float holds.
    return type(value) in (int, float) and 0 < value <= sys.float_info.max


_ACTIVATIONS = (
    ("gelu", "gelu"),
    ("gelu_new", "gelu_tanh"),
    ("gelu_fast", "gelu_tanh"),
    ("gelu_pytorch_tanh", "gelu_tanh"),
    ("silu", "silu"),
    ("swish", "silu"),
    ("relu", "relu"),
)
ACTIVATION = Values(
    f"one of {', '.join(theirs for theirs, _ in _ACTIVATIONS)}", lambda value: False, _ACTIVATIONS
)
COUNT = Values("a whole number, at least 1", _is_count)
COUNT_OR_NULL = Values(f"{COUNT.valid}, or null", _is_count, ((None, 0),))
COUNT_OR_AUTO = Values(f"{COUNT.valid}, or 'auto'", _is_count, (("auto", 0),))
POSITIVE = Values("a positive number", _is_positive)
SHARE = Values("a number above 0, at most 1", lambda value: _is_positive(value) and value <= 1)
FLAG = Values("true or false", lambda value: isinstance(value, bool))
