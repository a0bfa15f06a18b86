"""A choice in the terminal."""

from mecheval_jax.reporting.terminal.choice import choice_row, show_choice
from mecheval_jax.store import choice
from tests.support import choice_tables

TABLE = choice_tables.table(based={}, mamba=choice_tables.MEMORISED, hyena=choice_tables.UNFINISHED)
ADVICE = choice.Advice(
    choice.ABSTAINED,
    None,
    (choice.Paragraph("answer", "No [bold]model[/] can be recommended\x1b[2J.", {}),),
    (choice.FurtherRun("more seeds\a", "python -m launch.choose --mixer='a,b'"),),
)


def test_rows():
    """Catches a number under another heading, and NaN shown as one."""
    based, mamba, hyena = (choice_row(row) for row in TABLE.to_dict("records"))
    assert based["accuracy"] == "98.0% [96.0%, 99.0%]"
    assert (based["runs"], based["circuit"]) == ("3/3", "5/15")
    assert (based["prefill"], based["decode"]) == ("2 ms", "100 µs")
    assert mamba["state"] == "not learned, memorised"
    assert hyena["state"] == "unfinished"
    assert hyena["runs"] == hyena["accuracy"] == hyena["prefill"] == "-"


def test_what_is_printed(capsys):
    """Catches advice whose words are taken for markup, obeyed by the terminal, or broken where one
    copies a command."""
    show_choice(TABLE, ADVICE)
    text = capsys.readouterr().out
    assert "No [bold]model[/] can be recommended\\x1b[2J." in text
    assert "more seeds\\x07:" in text
    assert "  python -m launch.choose --mixer='a,b'" in text
    assert "induction" in text
    # Of the one that is unfinished nothing is known but that: it has a row among the answers alone.
    assert [line.split()[0] for line in text.splitlines() if line.strip()].count("hyena") == 1
