"""A comparison in the terminal."""

from mecheval_jax import comparison
from mecheval_jax.reporting.terminal.comparison import show_comparison

ROW = dict.fromkeys(comparison.COLUMNS) | {"metric": "accuracy", "floor": 0.25, "name": "run"}
ROWS = [
    ROW | {"task": "1 recall", "folder": "a", "value": 0.9, "low": 0.85, "high": 0.93},
    ROW
    | {"task": "1 recall", "folder": "b[red]", "value": 0.7, "low": 0.6, "high": 0.75}
    | {"against": "a: run", "difference": -0.2, "difference_low": -0.3, "difference_high": -0.1},
    ROW | {"task": "2 recall", "folder": "c", "value": 0.5, "low": 0.4, "high": 0.6},
]


def test_sections(capsys):
    """Catches tasks in one table, folders read as markup, and what is left out not shown."""
    show_comparison(ROWS, {"d[/]": "damaged"})
    text = capsys.readouterr().out
    assert text.index("task 1 recall") < text.index("b[red]") < text.index("task 2 recall")
    assert "-20.0% [-30.0%, -10.0%]" in text
    assert "differences are to a: run" in text
    assert "left out: d[/]: damaged" in text


def test_names_are_texts_on_a_terminal(capsys):
    """Catches a folder, or a verdict of another's file, that a terminal obeys."""
    evil = "\x1b]0;pwn\x07"
    show_comparison([ROWS[0] | {"folder": evil, "verdict": evil}], {evil: f"no {evil}"})
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert text.count("pwn") == 4
