"""Texts of a terminal."""

import io

from rich.console import Console

from mecheval_jax.reporting.terminal import narrow, tables
from mecheval_jax.reporting.terminal.text import Text

EVIL = "a\x1b[31mred\x1b]0;title\x07\udcff"


def test_a_text_commands_nothing():
    """Catches a name of a file that colours the terminal, or cannot be printed at all."""
    for text in (Text(EVIL), Text("x").append(EVIL).append(Text(EVIL))):
        printed = io.StringIO()
        Console(file=printed, force_terminal=False).print(text, soft_wrap=True)
        assert "\x1b" not in printed.getvalue()
        assert "\\x1b[31mred" in printed.getvalue()
        printed.getvalue().encode()
    assert Text("bold", style="bold").style == "bold"


def test_rows_of_runs_command_nothing(capsys):
    """Catches a table that prints names and verdicts as they stand in a folder."""
    tables.show_runs({EVIL: {"verdict": EVIL, "accuracy": 0.5}})
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\\x1b" in printed
    assert narrow.Text is Text
