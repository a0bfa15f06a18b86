"""Messages to the user: one place for all, so that lines and progress bars do not overlap."""

import unicodedata

from rich.console import Console

CONSOLE = Console(stderr=True, soft_wrap=True, highlight=False)


def printable(text: str) -> str:
    """A text without what a terminal would obey: control characters are spelled out.

    Line feeds and tabs stay, as do all letters of all scripts.
    """
    return "".join(
        one.encode("unicode_escape", "surrogatepass").decode() if _obeyed(one) else one
        for one in text
    )


def _obeyed(character: str) -> bool:
    """Whether a terminal does something at a character, or it turns the order of others."""
    joins = "\n\t\u200c\u200d"  # the last two join letters in Persian, in Hindi and in emoji
    return character not in joins and unicodedata.category(character) in ("Cc", "Cf", "Cs")


def say(message: str) -> None:
    """One line for the user, on standard error."""
    CONSOLE.print(printable(message), markup=False)
