"""Which further runs would settle what a choice leaves open, each with the command that makes it.

What answers too few questions is trained for longer before other learning rates and widths are
tried, unless its accuracy on dev documents has fallen from its peak: a model that answers the
documents it was trained on and no others may yet learn to recall.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mecheval_jax.selection.request import Asked
from mecheval_jax.store.choice import LEARNED, UNFINISHED, FurtherRun

Row = Mapping[str, Any]

MORE_STEPS = 3
"""By how many times longer a training is tried that was too short, perhaps."""


def further_runs(
    rows: Sequence[Row], open_ones: Sequence[Row], poor: Row | None, asked: Asked
) -> Iterator[FurtherRun]:
    """Runs that would settle what is uncertain, of the shapes in question alone.

    Args:
        rows: Rows of ``choice.csv``.
        open_ones: Those that more seeds are asked of: the equals, and what learned by luck.
        poor: The recommended one, where it is wrong too often to be relied on.
        asked: What was asked for.
    """
    if any(row["state"] == UNFINISHED for row in rows):
        yield FurtherRun("goes on with what was not finished", asked.commands.whole)
    yield from _longer([row for row in rows if is_short(row) or row is poor], asked)
    yield from _seeds(open_ones, asked)
    lost = [row for row in rows if is_lost(row)]
    if lost:
        rates = (f"{min(asked.rates) / 3:.2g}", f"{max(asked.rates) * 3:.2g}")
        command = asked.commands.beside("rates", *_settings(lost, rates))
        yield FurtherRun("other learning rates for what has not learned", command)
    if poor:
        rates = (f"{poor['learning_rate']:g}",)
        settings = _settings([{**poor, "width": 2 * poor["width"]}], rates)
        yield FurtherRun(
            "a wider model of the recommended kind, which is wrong too often",
            asked.commands.beside("wider", *settings),
        )


def is_lost(row: Row) -> bool:
    """Whether a shape has learned nothing: neither to recall nor its train documents by heart."""
    return row["state"] not in (LEARNED, UNFINISHED) and not row["memorised"]


def is_short(row: Row) -> bool:
    """Whether a shape learned too little, on train documents or beyond them."""
    return is_lost(row) or bool(row["memorised"])


def may_take_more_steps(row: Row) -> bool:
    """Whether nothing speaks against more steps: its loss was finite, and it has not got worse."""
    return row["accuracy"] is not None and not row["past_peak"]


def _longer(rows: Sequence[Row], asked: Asked) -> Iterator[FurtherRun]:
    if found := [row for row in rows if may_take_more_steps(row)]:
        settings = _settings(found, dict.fromkeys(f"{row['learning_rate']:g}" for row in found))
        why = "more steps, since accuracy on dev documents had not fallen when training ended"
        steps = MORE_STEPS * asked.steps
        yield FurtherRun(why, asked.commands.beside("steps", *settings, f"--steps={steps}"))


def _seeds(rows: Sequence[Row], asked: Asked) -> Iterator[FurtherRun]:
    few = any(row["learned"] < row["members"] or row["members"] < 3 for row in rows)
    if few or any(map(is_split, rows)) or len(rows) > 1:
        rates = dict.fromkeys(f"{row['learning_rate']:g}" for row in rows)
        settings = (*_settings(rows, rates), f"--seeds={max(5, asked.seeds + 2)}")
        why = "more seeds say how often training succeeds"
        why += ", and which of them is better" if len(rows) > 1 else ""
        yield FurtherRun(why, asked.commands.beside("seeds", *settings))


def _settings(rows: Sequence[Row], rates: Iterable[str]) -> Iterator[str]:
    """Flags of some rows' architectures and widths, each once, and of learning rates.

    Widths and rates are crossed: those of all shapes in question are tried with each.
    """
    yield from (f"--mixer={name}" for name in dict.fromkeys(row["mixer"] for row in rows))
    yield f"--widths={','.join(dict.fromkeys(str(row['width']) for row in rows))}"
    yield f"--learning_rates={','.join(rates)}"


def is_split(row: Row) -> bool:
    """Whether the runs of a shape that have learned have different mechanisms."""
    return (row["agreement"] or 1.0) < 1.0
