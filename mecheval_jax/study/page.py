"""The pages of the study: what holds, at a glance, as Markdown and as HTML."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from mecheval_jax.reporting.html.page import render
from mecheval_jax.study.judgement import VERDICTS, Judgement

METHOD = (
    "A finding is taken apart into claims about accuracies and restored shares, each a one-sided "
    "test on replicates over seeds and documents (a hierarchical bootstrap). It is reproduced if "
    "all claims that were run hold, not reproduced if one is contradicted, corrected by Holm's "
    "method for the number of findings at 5 %; otherwise undecided. A published accuracy is one "
    "seed on 320 documents, the best of a grid: it agrees if it lies in the 95 % prediction "
    "interval for one more run of our best learning rate."
)


def about(what: str, rows: pd.DataFrame) -> str:
    """What was run, in a phrase: how many members, seeds and widths a table has."""
    widths = ", ".join(str(width) for width in sorted(rows["width"].unique()))
    seeds = rows["seed"].nunique()
    return f"{what}: {len(rows)} members, {seeds} seeds, widths {widths or 'none'}"


def results_page(
    what: str, judgements: Sequence[Judgement], compared: pd.DataFrame, not_run: Sequence[str]
) -> str:
    """The page as Markdown.

    Args:
        what: was run, in a phrase.
        judgements: of all findings.
        compared: of `agreement.agreement`.
        not_run: lines.
    """
    lines = [
        "# The published study, run and judged",
        "",
        f"This is {what}.",
        "",
        summary(judgements),
    ]
    lines += ["", METHOD, "", "## Findings", "", *_table(FINDING_COLUMNS, _rows(judgements))]
    lines += [
        "",
        "## Published and own accuracies",
        "",
        *_table(NUMBER_COLUMNS, _numbers(compared)),
    ]
    if not_run:
        lines += ["", "## Not run", "", *(f"- {line}" for line in not_run)]
    return "\n".join(lines) + "\n"


def results_report(
    what: str, judgements: Sequence[Judgement], compared: pd.DataFrame, not_run: Sequence[str]
) -> str:
    """The same as HTML, without a network."""
    return render(
        "study.html.jinja",
        about=what,
        summary=summary(judgements),
        method=METHOD,
        findings=(FINDING_COLUMNS, _rows(judgements)),
        numbers=(NUMBER_COLUMNS, _numbers(compared)),
        not_run=list(not_run),
    )


def summary(judgements: Sequence[Judgement]) -> str:
    """How many findings have which verdict."""
    count = Counter(one.verdict for one in judgements)
    told = ", ".join(f"{count[verdict]} {verdict}" for verdict in VERDICTS)
    return f"Of {len(judgements)} findings: {told}."


FINDING_COLUMNS = ("", "finding", "verdict", "why", "estimate", "judged on")


def _rows(judgements: Sequence[Judgement]) -> list[tuple[str, ...]]:
    return [
        (
            str(one.finding),
            one.text,
            one.verdict,
            one.sentence,
            "" if one.estimate != one.estimate else
            f"{one.estimate:.3f} [{one.low:.3f}, {one.high:.3f}]",
            f"{one.claims_judged} of {one.claims} claims"
            + (f"; without: {one.not_run}" if one.not_run and one.claims_judged else ""),
        )
        for one in judgements
    ]  # fmt: skip


NUMBER_COLUMNS = (
    "task", "layers", "mixer", "width", "published", "ours", "95 % of the mean",
    "95 % of one run", "runs", "agrees",
)  # fmt: skip


def _numbers(compared: pd.DataFrame) -> list[tuple[str, ...]]:
    return [
        (
            f"{row.task} ({row.split})" if row.split != "test" else str(row.task),
            str(row.layers),
            " ".join(filter(None, (row.mixer, row.option, _positions(row)))),
            str(row.width),
            f"{row.published:.1%}",
            f"{row.accuracy:.1%}",
            f"{row.low:.1%} to {row.high:.1%}",
            f"{row.predicted_low:.1%} to {row.predicted_high:.1%}",
            str(row.runs),
            "yes" if row.agrees else "no",
        )
        for row in compared.itertuples()
    ]


def _positions(row: Any) -> str:
    usual = "learned" if row.mixer == "attention" else "none"
    return "" if row.positions == usual else f"(positions {row.positions})"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
