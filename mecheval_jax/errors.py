"""The error of a user's mistake: what was given, and what would be valid."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in a config, a flag, a file or a call.

    Programs print its message as one line and end with exit code 2; any other
    exception is a fault of ours and keeps its traceback.
    """


def require_at_least(instance: object, section: str, names: Iterable[str], smallest: int) -> None:
    """Raise UserError for the first of an instance's fields that is below `smallest`."""
    for name in names:
        value = getattr(instance, name)
        if value < smallest:
            raise UserError(f"{section}.{name} is {value}: it must be at least {smallest}")


def choose(kind: str, value: str, valid: Iterable[str]) -> str:
    """Return `value` if it is one of `valid`.

    Raises:
        UserError: it is not; the message names the nearest valid choice and all others.
    """
    choices = list(valid)
    if value in choices:
        return value
    nearest = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    raise UserError(f"unknown {kind} {value!r}{hint}: valid are {', '.join(choices)}")


class Interrupted(Exception):
    """Work that stopped before its end through no mistake: the same command goes on with it.

    Programs print its message as one line and end with the exit code that tells a scheduler to
    start them again.
    """


class Stopped(Interrupted):
    """SIGTERM came at a moment when nothing was left to save."""

    def __init__(self):
        super().__init__("stopped by SIGTERM; the same command resumes")
