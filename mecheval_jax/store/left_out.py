"""What of some folders cannot be read: noted with its reason, so that all the rest is shown."""

from collections.abc import Callable
from typing import TypeVar

from mecheval_jax.console import say
from mecheval_jax.errors import UserError

Part = TypeVar("Part")


def told(name: str, reason: str) -> str:
    """A part that is left out, with its reason, which may begin with the part's name already."""
    begins = reason.startswith(tuple(f"{name}{end}" for end in " /:"))
    return reason if begins else f"{name}: {reason}"


class LeftOut(dict[str, str]):
    """Parts that are left out, by their names, with the reason of each.

    Args:
        aloud: Whether each is said, too, when it is noted.
    """

    def __init__(self, aloud: bool = True):
        super().__init__()
        self._aloud = aloud

    def note(self, name: str, reason: object) -> None:
        """Note a part that is left out; of a name that is noted already, the reason is added."""
        known, reason = self.get(name, ""), str(reason)
        if reason not in known:
            self[name] = f"{known}; {reason}" if known else reason
            if self._aloud:
                say(f"left out: {told(name, reason)}")

    def part(self, name: str, read: Callable[[], Part], otherwise: Part) -> Part:
        """A part of a folder or, where that is damaged, something else, and a note.

        Args:
            name: Name of the part, by which a reader finds it.
            read: Function that reads the part.
            otherwise: What stands for a part that cannot be read.
        """
        try:
            return read()
        except UserError as error:
            self.note(name, error)
            return otherwise
