"""The pages of the study, as Markdown and as HTML: which findings hold, at a glance."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mecheval_jax.evaluation.verdict.rule import NOT_LEARNED
from mecheval_jax.reporting.html.page import render
from mecheval_jax.reporting.table import markdown_lines
from mecheval_jax.study.agreement import (
    ANOTHER_GRAMMAR,
    ANOTHER_RATE,
    ONE_AHEAD,
    ONE_RATE,
    ONE_RUN,
    TOO_WIDE,
)
from mecheval_jax.study.claims import ERROR_RATE, Claim, with_interval
from mecheval_jax.study.coverage import HEADS as COVERAGE_HEADS
from mecheval_jax.study.coverage import Coverage
from mecheval_jax.study.findings.margins import ACCURACY, ATTRIBUTION
from mecheval_jax.study.judgement import NOT_RUN, UNDECIDED, VERDICTS, Judgement
from mecheval_jax.study.measured import HIGH_ABOVE, answering, failures
from mecheval_jax.study.run_table import SEVERAL, name_of, run_lines, success_lines
from mecheval_jax.study.tables import has_shares

METHOD = (
    "A finding is taken apart into claims about accuracies and restored shares, each a one-sided "
    "test over seeds and documents: Student's law, with the variance between seeds moderated by "
    "that of all cells, since two or three runs hardly show it. Accuracies and shares are "
    "fractions here: 0.975 is 97.5 %. Bounds leave room, since a published number is of one seed: "
    f"{100 * ACCURACY:g} points of accuracy as a rule (99.5 % or more is claimed as above "
    f"{0.995 - ACCURACY:g}), "
    f"and {ATTRIBUTION} where a share is said to be 0 or 1. Claims are about typical "
    "trainings: that one holds does not say that none fails outright (how often stands below), and "
    "where one of a few has failed their mean leaves it open. It is "
    "reproduced if "
    "all claims that were run hold, not reproduced if one is contradicted, corrected by Holm's "
    "method for the number of findings at 5 %; otherwise undecided. The number that is shown is of "
    "the claim that decided, or of the one that is named, with its 95 % interval. A published "
    "accuracy is one seed on 320 "
    "documents, the best of a grid: it agrees if it lies in the 95 % prediction interval for one "
    "more run of our best learning rate, a rule without an error rate. It is not said to agree "
    "where that interval is wider than "
    "30 points, nor to disagree where that of another learning rate holds it. Where only one was "
    "run, or one of fewer runs is ahead, another may do better: that an accuracy is low there "
    "neither contradicts a claim that it is high nor supports one that it is low. Where rates with "
    "as many runs cannot be told apart, p-values of large numbers are multiplied by how many they "
    "are."
)


COVERAGE = (
    "By experiment, those that decide the most findings first (a row counts without interventions, "
    "too, and in whatever table it stands):"
)

LEFT = "What is left of what was begun or planned:"

SUCCESS = (
    f"Runs that answer more than the best heuristic without recall (with 99.9 % confidence where a "
    f"verdict was asked for, and 95 % elsewhere), of {SEVERAL} seeds or more at one learning rate. "
    "The interval (Wilson's) is of the share among all seeds: who learns in three of three may "
    "still fail in half of all trainings."
)


def _of_success(rows: pd.DataFrame) -> str:
    """The text beside the table of how often training succeeds, and how often it fails outright."""
    is_recall = rows["task"].str.startswith("AR")
    told = []
    for where, own in (("recall", rows[is_recall]), ("treecall", rows[~is_recall])):
        failed, of = failures(answering(own))
        if of:
            told.append(f"{failed} of {of} on {where}")
    if not told:
        return SUCCESS
    return (
        f"{SUCCESS} Of the runs beside the best one of their cell and rate, if that one answers "
        f"at least {100 * HIGH_ABOVE:.0f} points more than a guess or a copy, so many fail (they "
        f"answer less than half as much): "
        f"{', '.join(told)}."
    )


@dataclasses.dataclass(frozen=True)
class Conclusion:
    """The content of a page.

    Attributes:
        what: Phrase that describes the runs.
        rows: Table of the results.
        judgements: Judgements of all findings.
        compared: Published accuracies with our own, from `agreement.agreement`.
        not_run: Lines about what was not run, and why.
        figures: Names of the figures' files with their captions.
        coverage: How many members of the study have a row; None if that is not said.
    """

    what: str
    rows: pd.DataFrame
    judgements: Sequence[Judgement]
    compared: pd.DataFrame
    not_run: Sequence[str]
    figures: Mapping[str, str]
    coverage: Coverage | None = None


def markdown(found: Conclusion) -> str:
    """The page as Markdown, which refers to the figures' files."""
    lines = [
        "# The published study, run and judged",
        "",
        *_head(found),
        "",
        METHOD,
        "",
        "## Findings",
        "",
        *_table(FINDING_COLUMNS, [_row(one) for one in found.judgements]),
        "",
        "## Figures",
        *_figures(found),
        "",
        "## Published and own accuracies",
        "",
        agreeing(found.compared),
        "",
        *_table(NUMBER_COLUMNS, _numbers(found.compared)),
        "",
        *_successes(found.rows),
        "## What was run",
        "",
        *_table(*run_lines(found.rows)),
    ]
    return "\n".join([*lines, *_left(found)]) + "\n"


def brief(found: Conclusion, folder: str) -> list[str]:
    """Lines of Markdown for another page: each finding in short, and the figures.

    Args:
        found: Content of the page.
        folder: Path from the other page to the folder of this page, with a slash at its end.
    """
    rows = [_row(one)[:BRIEF] for one in found.judgements]
    lines = [*_head(found), "", agreeing(found.compared), ""]
    return [*lines, *_table(FINDING_COLUMNS[:BRIEF], rows), *_figures(found, folder)]


def _successes(rows: pd.DataFrame) -> list[str]:
    heads, lines = success_lines(rows)
    table = [_of_success(rows), "", *_table(heads, lines), ""]
    return ["## How often training succeeds", "", *table] if lines else []


def _left(found: Conclusion) -> list[str]:
    """The section about what was not run: the members by experiment, then what is known of them."""
    lines = []
    if found.coverage:
        table = _table(COVERAGE_HEADS, found.coverage.lines)
        lines += ["", f"{found.coverage.sentence} {COVERAGE}", "", *table]
    if found.not_run:
        lines += ["", LEFT, "", *(f"- {line}" for line in found.not_run)]
    return ["", "## Not run", *lines] if lines else []


def _head(found: Conclusion) -> list[str]:
    lines = [f"**{summary(found.judgements)}**", "", f"This is {found.what}.", ""]
    lines += [of_claims(found.judgements), ""]
    for line, reasons in by_verdict(found.judgements):
        lines += [f"* {line}", *(f"  * {reason}" for reason in reasons)]
    return lines


def _figures(found: Conclusion, folder: str = "") -> list[str]:
    lines = []
    for name, caption in found.figures.items():
        lines += ["", f"![{caption}]({folder}figures/{name}.svg)", "", f"*{caption}.*"]
    return lines


def html(found: Conclusion, pictures: Sequence[tuple[str, Any]]) -> str:
    """The page as one HTML file, which needs no network.

    Args:
        found: What is shown.
        pictures: Captions and pictures, as of `saving.inline`.
    """
    return render(
        "study.html.jinja",
        what=found.what,
        summary=summary(found.judgements),
        of_claims=of_claims(found.judgements),
        undecided=[why for _, reasons in by_verdict(found.judgements) for why in reasons],
        method=METHOD,
        findings=[
            (one, _estimate(one), [_claim_row(claim) for claim in one.evidence])
            for one in found.judgements
        ],
        claims=CLAIM_COLUMNS,
        agreeing=agreeing(found.compared),
        numbers=(NUMBER_COLUMNS, _numbers(found.compared)),
        success=_of_success(found.rows),
        successes=success_lines(found.rows),
        runs=run_lines(found.rows),
        not_run=list(found.not_run),
        left=LEFT,
        coverage=_coverage(found.coverage),
        pictures=pictures,
    )


def _coverage(coverage: Coverage | None) -> dict[str, Any] | None:
    if coverage is None:
        return None
    return {
        "text": f"{coverage.sentence} {COVERAGE}",
        "table": (COVERAGE_HEADS, coverage.lines),
    }


def about(what: str, rows: pd.DataFrame) -> str:
    """A phrase that describes the runs: the numbers of members, seeds and widths in a table."""
    widths = ", ".join(str(width) for width in sorted(rows["width"].unique()))
    models = rows[rows["split"] == "test"]
    measured = has_shares(models)
    failed = models["verdict"].eq(NOT_LEARNED) & ~measured
    return (
        f"{what}: {models['config_hash'].nunique()} trained models, {measured.sum()} of them with "
        f"interventions, {failed.sum()} that have learned nothing to intervene on; "
        f"{rows['seed'].nunique()} seeds, widths {widths or 'none'}"
    )


def summary(judgements: Sequence[Judgement]) -> str:
    """Number of findings with each verdict."""
    count = Counter(one.verdict for one in judgements)
    told = ", ".join(f"{count[verdict]} {verdict}" for verdict in VERDICTS)
    return f"Of the study's {len(judgements)} findings: {told}."


def of_claims(judgements: Sequence[Judgement]) -> str:
    """Number of claims, of those that have runs, and of those that hold or are false alone."""
    names = ("claims", "claims_judged", "supported", "contradicted")
    all_of, judged, held, lost = (sum(getattr(one, name) for one in judgements) for name in names)
    return (
        f"The findings are {all_of} claims, each about one number. {judged} have runs to judge "
        f"by: {held} hold by themselves at 5 %, {lost} are false, {judged - held - lost} are open."
    )


def by_verdict(judgements: Sequence[Judgement]) -> list[tuple[str, list[str]]]:
    """A line for each verdict that occurs, with the numbers of its findings, and what they lack.

    A star marks findings that are judged on a part of their claims.
    """
    lines: list[tuple[str, list[str]]] = []
    for verdict in VERDICTS:
        of_it = [one for one in judgements if one.verdict == verdict]
        if of_it:
            reasons = _why_undecided(of_it) if verdict == UNDECIDED else []
            lacking = [f"{why}: {_listed(ones)}" for why, ones in reasons if ones]
            lines.append((f"{verdict}: {_listed(of_it, starred=True)}", lacking))
    if any(one.is_partial for one in judgements):
        star = "a star: judged on a part of its claims, for the rest has no run to judge by"
        lines.append((star, []))
    return lines


FEW_RUNS = 5
"""So few runs of a cell hardly show how far seeds lie apart."""


def _why_undecided(judgements: Sequence[Judgement]) -> list[tuple[str, list[Judgement]]]:
    """What undecided findings lack."""
    waiting = [one for one in judgements if one.missing]
    rest = [one for one in judgements if not one.missing]
    singly = [one for one in rest if one.claims_judged == one.supported]
    against = [one for one in rest if one.contradicted]
    rest = [one for one in rest if one not in singly and one not in against]
    of_rates = [one for one in rest if one.waits_for_rates]
    rest = [one for one in rest if one not in of_rates]
    return [
        ("an essential part has no run", waiting),
        ("each claim holds by itself at 5 %, and not surely enough among all findings", singly),
        ("a claim is false by itself at 5 %, and not surely enough among all findings", against),
        ("another learning rate may do better", of_rates),
        (
            f"a cell of the claim that decides has {FEW_RUNS} runs or fewer",
            [one for one in rest if one.fewest_runs <= FEW_RUNS],
        ),
        (
            "its cells have more, and these lie near the bound or disagree",
            [one for one in rest if one.fewest_runs > FEW_RUNS],
        ),
    ]


def _listed(judgements: Sequence[Judgement], starred: bool = False) -> str:
    return ", ".join(
        f"{one.finding}{'*' if starred and one.is_partial else ''}" for one in judgements
    )


def agreeing(compared: pd.DataFrame) -> str:
    """Number of published accuracies that agree with the prediction for one more run of ours."""
    count = Counter(compared[compared["open"] != ANOTHER_GRAMMAR].apply(_agrees, axis=1))
    told = "; ".join(f"{count[answer]} {word}" for answer, word in AGREEMENT if count[answer])
    return (
        f"Where the {count.total()} published accuracies of recall of which there are runs here "
        f"lie, beside the 95 % prediction interval for one more run: {told or 'nowhere'}."
    )


AGREEMENT = (
    ("yes", "inside"),
    (TOO_WIDE, "inside one so wide that this says nothing"),
    ("no", "outside"),
    (ANOTHER_RATE, "outside, but inside that of another learning rate"),
    (ONE_RATE, "above, where one learning rate was run"),
    (ONE_AHEAD, "above, where a rate of fewer runs is ahead"),
    (ONE_RUN, "elsewhere than a single run"),
)
"""What `_agrees` says of a published accuracy, and what that means."""


BRIEF = 5
"""Number of columns of a finding on another page."""

FINDING_COLUMNS = ("", "finding", "verdict", "here [95 %]", "published", "why", "judged on")


def _row(one: Judgement) -> tuple[str, ...]:
    judged = "" if one.verdict == NOT_RUN else f"{one.claims_judged} of {one.claims} claims"
    where = f" ({one.at_widths})" if one.at_widths else ""
    verdict = f"{one.verdict}, on {judged}{where}" if one.is_partial else f"{one.verdict}{where}"
    if judged and one.not_run:
        judged += f"; without: {one.not_run}"
    return (
        str(one.finding), one.text, verdict, _estimate(one), one.published, one.sentence, judged,
    )  # fmt: skip


def _estimate(one: Judgement) -> str:
    return "" if one.estimate != one.estimate else with_interval(one.estimate, one.low, one.high)


CLAIM_COLUMNS = ("claim", "here [95 %]", "published", "runs", "by itself")


def _claim_row(claim: Claim) -> tuple[str, ...]:
    """The cells of a claim, and whether it holds by itself at 5 %."""
    if not claim.runs:
        return (claim.text, "", claim.published_text, "", "no run to judge by")
    supported, contradicted = (p <= ERROR_RATE for p in (claim.if_false, claim.if_true))
    holds = "holds" if supported else "false" if contradicted else "open"
    number = with_interval(claim.estimate, *claim.interval)
    known = f"{holds}: {claim.note}" if claim.note and holds == "open" else holds
    return (claim.text, number, claim.published_text, str(claim.runs), known)


NUMBER_COLUMNS = (
    "task", "layers", "mixer", "width", "published", "here", "95 % of the mean",
    "95 % of one run", "runs", "agrees",
)  # fmt: skip


def _numbers(compared: pd.DataFrame) -> list[tuple[str, ...]]:
    return [
        (
            f"{row.task} ({row.split})" if row.split != "test" else str(row.task),
            str(row.layers),
            name_of(row),
            str(row.width),
            f"{row.published:.1%}",
            f"{row.accuracy:.1%}",
            f"{row.low:.1%} to {row.high:.1%}",
            f"{row.predicted_low:.1%} to {row.predicted_high:.1%}",
            str(row.runs),
            _agrees(row),
        )
        for row in compared.itertuples()
    ]


def _agrees(row: Any) -> str:
    if pd.isna(row.agrees):
        return str(row.open)
    return "yes" if row.agrees else "no"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return markdown_lines(columns, ([cell.replace("|", "\\|") for cell in row] for row in rows))
