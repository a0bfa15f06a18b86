"""What a training loop tells the outside: records to keep, progress to show."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class Hooks(Protocol):
    """Receives what happens, in order. See `reporting` for those that write and show it."""

    def record(self, values: Mapping[str, float | int | str]) -> None:
        """A row of metrics; it has at least ``step`` and ``split``."""
        ...

    def advance(self, step: int, note: str) -> None:
        """So many steps are done; `note` is a few words on how it goes."""
        ...

    def say(self, message: str) -> None:
        """Something the user should read."""
        ...
