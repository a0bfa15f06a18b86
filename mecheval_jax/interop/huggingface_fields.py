"""Fields of a config.json: which values they may have, and what those are here."""

from collections.abc import Callable
from typing import Any, NamedTuple

REQUIRED = "required"
"""Default of a field that every config.json must have."""


class Values(NamedTuple):
    """The values of a field.

    Attributes:
        valid: which those are, for a message.
        test: whether a value is one.
        names: values that are written differently here: theirs and ours, the first of several
            being the one that is written.
    """

    valid: str
    test: Callable[[Any], bool]
    names: tuple[tuple[Any, Any], ...] = ()

    def read(self, value: Any) -> Any:
        """Our value; ValueError, with what is valid, if there is none."""
        for theirs, ours in self.names:
            if value == theirs:
                return ours
        if not self.test(value):
            raise ValueError(self.valid)
        return value

    def write(self, value: Any) -> Any:
        """Their value."""
        return next((theirs for theirs, ours in self.names if value == ours), value)


class Field(NamedTuple):
    """A field of config.json.

    Attributes:
        values: which it may have.
        default: what its absence means.
        ours: fields of `ModelConfig` that have its value; options of the mixer begin with
            ``mixer_options.``.
    """

    values: Values
    default: Any
    ours: tuple[str, ...] = ()


def field(ours: str, values: Values, default: Any = REQUIRED) -> Field:
    """A field by our names for it, with a space between them and a dot before an option's."""
    names = (f"mixer_options{n}" if n.startswith(".") else n for n in ours.split())
    return Field(values, default, tuple(names))


def only(*valid: Any) -> Field:
    """A field of which one value alone can be represented; the first is the default."""
    return Field(Values(" or ".join(map(repr, valid)), lambda value: value in valid), valid[0])


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1  # True is no number of layers


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and value > 0


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
