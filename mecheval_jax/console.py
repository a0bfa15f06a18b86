"""Messages to the user: one place for all, so that lines and progress bars do not overlap."""

from rich.console import Console

CONSOLE = Console(stderr=True, soft_wrap=True, highlight=False)


def say(message: str) -> None:
    """Print one line for the user, on standard error."""
    CONSOLE.print(message, markup=False)
