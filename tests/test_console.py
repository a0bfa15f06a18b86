"""What a program says goes to standard error, as it is."""

from mecheval_jax.console import CONSOLE, say


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
