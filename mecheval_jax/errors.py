"""Errors that are shown to users as one line: users' mistakes, and interruptions."""

import difflib
from collections.abc import Iterable
from typing import Any

USAGE_ERROR = 2
"""Exit code of a user's mistake."""


class UserError(ValueError):
    """A mistake in a config, a flag, a file or a call.

    The message has the invalid value and the valid ones. Programs print it as one line and end with
    exit code 2; any other exception is a bug and keeps its traceback.
    """


def one_line(text: object, most: int | None = None) -> str:
    """A text without line breaks, cut after `most` letters."""
    return " ".join(str(text).split())[:most]


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 seed``, ``3 seeds``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def shown(value: Any, most: int = 80) -> str:
    """A value for a message, on one line, cut where it is long."""
    if isinstance(value, int) and value.bit_length() > 128:  # Python writes no longest number
        return f"a number of more than {value.bit_length() * 3 // 10} digits"
    text = " ".join(repr(value).split())
    return text if len(text) <= most else f"{text[: most - 4]} ..."


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
        of_type = f"{shown(value, 44)}, of type {type(value).__name__}"
        raise UserError(f"{name} is {of_type}: it takes {takes}")


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
        UserError: If it is not; the message names the most similar valid value, whatever its
            capitals, and all others.
    """
    choices = list(valid)
    if value in choices:
        return value
    in_small = {str(choice).lower(): choice for choice in reversed(choices)}
    nearest = difflib.get_close_matches(str(value).lower(), in_small, n=1, cutoff=0.5)
    hint = f" (did you mean {in_small[nearest[0]]!r}?)" if nearest else ""
    raise UserError(f"unknown {kind} {value!r}{hint}: valid are {', '.join(choices)}")


class Interrupted(Exception):
    """An early stop that is no mistake, after which the same command resumes.

    Programs print the message as one line and end with the exit code that tells a scheduler to
    restart them.
    """


class TimeIsOver(Interrupted):
    """The time that a program was given is over; no signal came."""


class Stopped(Interrupted):
    """SIGTERM or Ctrl-C came when there was nothing to save."""

    def __init__(self):
        super().__init__("stopped; the same command resumes")
