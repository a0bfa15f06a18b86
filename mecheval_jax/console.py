"""Where everything that a program says to its user goes, so that lines and bars do not overlap."""

from rich.console import Console

CONSOLE = Console(stderr=True, soft_wrap=True, highlight=False)


def say(message: str) -> None:
    """One line for the user, on standard error."""
    CONSOLE.print(message, markup=False)
