"""Errors that are shown to users as one line: users' mistakes, and interruptions."""

import difflib
from collections.abc import Callable, Iterable
from typing import Any

USAGE_ERROR = 2
"""Exit code of a user's mistake."""


class UserError(ValueError):
    """A mistake in a config, a flag, a file or a call.

    The message has the invalid value and the valid ones. Programs print it as one line and end with
    exit code 2; any other exception is a bug and keeps its traceback.
    """


POSITIVE = ("above 0", lambda value: value > 0)
SHARE = ("between 0 and 1", lambda value: 0 < value < 1)
"""Range of a field between 0 and 1, as the last arguments of `require`."""


def require(
    instance: object, section: str, names: Iterable[str], valid: str, holds: Callable[[Any], bool]
) -> None:
    """Check fields of a config.

    Args:
        instance: Object whose fields are checked.
        section: Section of the config that the fields belong to, for the message.
        names: Names of the fields.
        valid: Valid values in words, after "it must be".
        holds: Whether a value is valid.

    Raises:
        UserError: If a value is not valid; the message names the first.
    """
    for name in names:
        value = getattr(instance, name)
        if not holds(value):
            raise UserError(f"{section}.{name} is {value}: it must be {valid}")


def require_at_least(instance: object, section: str, names: Iterable[str], smallest: int) -> None:
    """Check lower bounds of fields; see `require`."""
    require(instance, section, names, f"at least {smallest}", lambda value: value >= smallest)


def expect(name: str, value: Any, kind: type | tuple[type, ...], takes: str) -> None:
    """Check the type of an argument, where another one would end in an error about something else.

    Args:
        name: Name of the argument.
        value: Value that was given.
        kind: Types that it may have.
        takes: What it takes, in words.

    Raises:
        UserError: If it has another type; the message says what it takes.
    """
    if not isinstance(value, kind):
        text = " ".join(repr(value).split())
        shown = f"{text[:40]} ..." if len(text) > 44 else text
        raise UserError(f"{name} is {shown}, of type {type(value).__name__}: it takes {takes}")


def several(given: Any) -> tuple[Any, ...]:
    """One name or several, as a tuple: a text is not taken for a list of letters."""
    return tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)


def choose(kind: str, value: Any, valid: Iterable[str]) -> str:
    """Return `value` if it is one of `valid`.

    Args:
        kind: Noun for the value in the message, such as ``mixer``.
        value: Value to check.
        valid: Valid values.

    Raises:
        UserError: If it is not; the message names the most similar valid value and all others.
    """
    choices = list(valid)
    if value in choices:
        return value
    nearest = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    raise UserError(f"unknown {kind} {value!r}{hint}: valid are {', '.join(choices)}")


class Interrupted(Exception):
    """An early stop that is no mistake, after which the same command resumes.

    Programs print the message as one line and end with the exit code that tells a scheduler to
    restart them.
    """


class Stopped(Interrupted):
    """SIGTERM arrived when there was nothing to save."""

    def __init__(self):
        super().__init__("stopped by SIGTERM; the same command resumes")
