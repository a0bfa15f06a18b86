"""Texts of a terminal, of which many come from files: names, verdicts, tokens of documents."""

from typing import Any

import rich.text

from mecheval_jax.console import printable


class Text(rich.text.Text):
    """Rich's text, without what a terminal would obey (`console.printable`)."""

    def __init__(self, text: str = "", *arguments: Any, **options: Any):
        super().__init__(printable(text), *arguments, **options)

    def append(self, text: "rich.text.Text | str", style: Any = None) -> "Text":
        """Add a text; returns this one, as Rich's does."""
        super().append(printable(text) if isinstance(text, str) else text, style)
        return self
