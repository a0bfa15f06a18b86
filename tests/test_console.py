"""What a program says goes to standard error, as it is."""

import pytest

from mecheval_jax.console import CONSOLE, printable, say


def test_say(capsys):
    """Catches brackets taken for colours, a line that is cut, and words among the output."""
    message = "metrics[loss] " + "long " * 60
    say(message)
    out, err = capsys.readouterr()
    assert (out, err) == ("", message + "\n")


def test_quiet(capsys, monkeypatch):
    """Catches a process that is not the first and speaks all the same."""
    monkeypatch.setattr(CONSOLE, "quiet", True)
    say("from every host")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("a\rb\x00\x9b", "a\\rb\\x00\\x9b"),
        ("left\u202eright", "left\\u202eright"),
        ("tab\tand\nline, ü 漢 👩‍🔬", "tab\tand\nline, ü 漢 👩‍🔬"),
    ],
)
def test_a_terminal_obeys_no_text(text, shown, capsys):
    """Catches a document that colours, moves or renames a terminal, and a script that is lost."""
    assert printable(text) == shown
    say(text)
    assert not set("\x1b\x07\r\x00\x9b\u202e") & set(capsys.readouterr().err)
