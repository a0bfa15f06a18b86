"""The console command hands over to the programs."""

import pytest

from mecheval_jax import __main__, __version__, programs
from tests.support import forked


def said(capsys, monkeypatch, *words):
    """What the command prints, and its exit code."""
    monkeypatch.setattr("sys.argv", ["mecheval", *words])
    code = 0
    try:
        __main__.main()
    except SystemExit as end:
        code = end.code
    return code, capsys.readouterr()


@pytest.mark.parametrize("words", [(), ("--help",), ("help",)])
def test_overview(words, capsys, monkeypatch):
    """Catches a program or config that a newcomer is not told of."""
    code, printed = said(capsys, monkeypatch, *words)
    assert code == 0
    text = " ".join(printed.out.split())
    assert all(f" {name} " in text for name in programs.names())
    assert all(name in text for name in programs.config_names())
    assert max(map(len, printed.out.splitlines())) <= 110


def test_version_and_completion(capsys, monkeypatch):
    """Catches options taken for programs."""
    assert said(capsys, monkeypatch, "--version")[1].out == f"mecheval {__version__}\n"
    assert "complete -o nospace" in said(capsys, monkeypatch, "completion", "bash")[1].out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trane",), "unknown program 'trane' (did you mean 'train'?)"),
        (("completion",), "unknown shell ''"),
    ],
)
def test_unknown_words(words, message, capsys, monkeypatch):
    """Catches a traceback where a word is misspelt."""
    code, printed = said(capsys, monkeypatch, *words)
    assert code == 2
    assert printed.err.startswith(f"error: {message}")


def test_a_program_runs_from_anywhere(tmp_path):
    """Catches programs that only start in the repository's root, and lost exit codes."""
    arguments = ["-m", "mecheval_jax", "report", "nothing"]
    done = forked.start(arguments, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("error: nothing")
