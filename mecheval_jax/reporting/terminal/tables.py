"""Tables of results on standard output."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from mecheval_jax.evaluation.config import CORRUPTION, RESTORE
from mecheval_jax.evaluation.verdict.readings import look_up_site
from mecheval_jax.evaluation.verdict.rule import NOT_LEARNED, label
from mecheval_jax.evaluation.verdict.verdict import Verdict
from mecheval_jax.reporting.numbers import MISSING, interval, number, percent
from mecheval_jax.reporting.terminal.narrow import print_table
from mecheval_jax.reporting.terminal.text import Text
from mecheval_jax.reporting.words import (
    accuracy,
    by_site,
    distractor,
    evidence_sites,
    look_up_words,
    notes,
    readings,
    run_values,
    site_words,
)
from mecheval_jax.store.row_selection import attributions, newest, residual_stream

ANALYSED = (
    "corruption", "direction", "site", "role", "variable", "subspace", "target", "method",
    "sender", "reader", "port", "circuit", "points", "edges", "matrix",
    "destination_token", "source_token", "setting", "pairs", "place", "operation", "question",
    "component", "where", "ablation", "metric",
)  # fmt: skip
"""Columns that say to which quantity a value of an analysis belongs."""

PLAIN_WIDTH = 120
"""Width, in characters, of a table that goes to a file or a pipe."""


def run_row(name: str, summary: Mapping[str, Any]) -> dict[str, str]:
    """One run in words: what it is, how well it answers, and by which mechanism."""
    values = run_values(summary)
    note = " (next key)" if values["bound_at"] else ""
    return {
        "run": name,
        "mixer": _word(values["mixer"]),
        "width": _word(values["width"]),
        "accuracy": accuracy(summary),
        "best floor": percent(values["floor"]),
        "@value": number(values["@value"]) + note,
        "@key": number(values["@key"]),
        "@query": number(values["@query"]),
        "verdict": _word(values["verdict"]),
        "layer": _word(values["layer"]),
    }


def _word(value: Any) -> str:
    return MISSING if value is None else str(value)


def show_runs(summaries: Mapping[str, Mapping[str, Any]]) -> None:
    """Print one row for each run.

    Args:
        summaries: Contents of ``summary.json``, by the name of the run.
    """
    rows = [run_row(name, summary) for name, summary in summaries.items()]
    later, earlier = look_up_words(look_up_site(evidence_sites(summaries.values())))
    console = output()
    table = plain_table(run_row("", {}), ("run", "mixer", "verdict"))
    for row in rows:
        table.add_row(*map(Text, row.values()))
    print_table(console, table)
    console.print(
        f"@value, @key, @query: attribution at the input of {later} under corruption of the pair, "
        "at the pair, before it and at the question. "
        f"@value high: induction; @query high: retrieved by {earlier}, from the key or from what "
        "its convolution has joined; @key high: left to a later layer.",
        style="dim",
    )


def starred(row: Mapping[str, Any]) -> str:
    """A score, with a star if it is significant."""
    return number(row["value"]) + "*" * (str(row.get("significant")) == "True")


def show_interchange(table: pd.DataFrame, verdict: Verdict | None) -> None:
    """Print the residual stream's attributions under key corruption, and the verdict.

    Args:
        table: Rows of ``interchange.csv``, of which the last step is shown. A grid may lack the
            residual stream or the corruption of the key.
        verdict: Verdict on the run; None if the task does not allow one.
    """
    console = output()
    table = newest(table)
    wanted = {"corruption": CORRUPTION, "direction": RESTORE}
    corruption, direction = (
        name if (table[column] == name).any() else table[column].iloc[0]
        for column, name in wanted.items()
    )
    chosen = attributions(table, corruption, direction)
    stream = residual_stream(chosen)
    shown = chosen if stream.empty else stream
    roles, lines = by_site(shown)
    title = f"attribution, {corruption} corrupted, {direction}"
    printed = plain_table(["site", *(f"@{role}" for role in roles)], ["site"], 1, title)
    for site, cells in lines:
        texts = (f"{starred(cell)}\n{interval(cell)}".rstrip() for cell in cells)
        printed.add_row(*map(Text, (site_words(site), *texts)))
    print_table(console, printed)
    console.print(
        "*: differs from 0, at a false discovery rate of 5 % over the whole grid", style="dim"
    )
    if verdict is not None and verdict.evidence.get("attributions"):
        show_evidence(verdict)
    console.print(_verdict_line(verdict), soft_wrap=True)


def show_evidence(verdict: Verdict) -> None:
    """Print the evidence of a verdict with its controls, and the probabilities."""
    rows = readings(verdict.evidence)
    controlled = any("untrained" in entry for entry in verdict.evidence["attributions"])
    numbers = ["attribution", "interval"] + ["untrained", "placebo"] * controlled
    columns, words = ("site", "role", *numbers, "reading"), ("site", "role", "reading")
    printed = plain_table(columns, words, 1, "what the verdict rests on (words: docs/verdict.md)")
    for row in rows:
        printed.add_row(*(Text(row[name]) for name in columns))
    console = output()
    print_table(console, printed)
    if "distractor" in verdict.evidence:
        console.print(Text(distractor(verdict.evidence)), soft_wrap=True)
    for line in notes(verdict.evidence):
        console.print(Text(line), soft_wrap=True)
    console.print(Text(f"probabilities: {probabilities(verdict.probabilities)}"), soft_wrap=True)
    if verdict.binding is not None:
        console.print(Text(f"binding: {verdict.binding}"))


def show_pool(verdict: Verdict, each: Mapping[str, Verdict]) -> None:
    """Print the verdict on several runs together.

    Args:
        verdict: Verdict on the runs that have learned.
        each: Verdict on each run, by its name.
    """
    console = output()
    learned = [one for one in each.values() if one.verdict != NOT_LEARNED]
    console.print(f"{len(learned)} of {len(each)} runs have learned the task")
    for name, one in each.items():
        left_out = ", left out" * (one.verdict == NOT_LEARNED)
        console.print(Text(f"  {name}: {label(one.verdict, one.layer)}{left_out}"))
    show_evidence(verdict)
    console.print(_verdict_line(verdict), soft_wrap=True)


def probabilities(shares: Mapping[str, float]) -> str:
    """The probabilities of the classes that occur, the likeliest first."""
    order = sorted(shares.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share:.1%}" for name, share in order if share > 0)


def plain_table(
    columns: Iterable[str], words: Sequence[str], gap: int = 2, title: str | Text | None = None
) -> Table:
    """A table without lines.

    Args:
        columns: Heads of the columns.
        words: Those columns that hold words; all others hold numbers, aligned to the right.
        gap: Number of blanks between two columns.
        title: Title above the table.
    """
    style = {"box": None, "padding": (0, gap, 0, 0), "header_style": "bold"}
    table = Table(**style, title=title, title_justify="left")
    for name in columns:
        table.add_column(
            Text(name), **{"overflow": "fold"} if name in words else {"justify": "right"}
        )
    return table


def _verdict_line(verdict: Verdict | None) -> Text:
    if verdict is None:
        return Text(
            "verdict: none: the documents have no pair to look for (roles key and value, of which "
            "the earlier one can be corrupted)",
            style="bold",
        )
    return Text(f"verdict: {label(verdict.verdict, verdict.layer)}: {verdict.reason}", style="bold")


def show_analyses(found: Mapping[str, pd.DataFrame]) -> None:
    """Print the number of rows of each analysis, and its highest values.

    Args:
        found: Tables by name.
    """
    console = output()
    for name, table in found.items():
        console.print(Text(f"{name}: {len(table):,} values", style="bold"))
        measured = table.assign(value=pd.to_numeric(table["value"])).dropna(subset="value")
        for row in measured.nlargest(3, "value").to_dict("records"):
            words = ", ".join(_quantity(row))
            console.print(Text(f"  {number(row['value'])} {interval(row)}  {words}"))


def _quantity(row: Mapping[str, Any]) -> list[str]:
    """What a row of an analysis is a value of, in words: numbers with what they count."""
    named = {name: row[name] for name in ANALYSED if name in row and not pd.isna(row[name])}
    if "site" in named:  # which names the component
        named.pop("component", None)
    texts = (v if isinstance(v, str) else f"{name} {v:g}" for name, v in named.items())
    return [text for text in texts if text]


def output(**options: Any) -> Console:
    """The console for tables: standard output, at a fixed width if that is a file.

    Texts may be anything: brackets and colons in them are no commands of rich.
    """
    console = Console(highlight=False, markup=False, emoji=False, **options)
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    return console
