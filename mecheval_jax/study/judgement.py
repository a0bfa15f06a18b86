"""Judgements from claims: which findings are reproduced, not reproduced, or undecided.

A finding is a list of claims that must all hold. It has two p-values:

- of the hypothesis that some claim is false: the largest p-value of the claims (an
  intersection-union test, which needs no correction);
- of the hypothesis that all claims are true: the smallest p-value of the claims, times their
  number (Bonferroni).

The p-value of the finding is the smaller of the two, doubled, since either could have been the
smaller. Over all findings it is corrected by Holm's method: each judgement is read on
its own, so the chance of a single false judgement matters and not the share of false ones
(Benjamini and Hochberg); and findings share runs, which Holm's method allows. A finding that is not
significant then is undecided.

Claims without a run are left out, and named. A finding has essential parts that belong to its
meaning: while one of these has no run at all, the finding is not judged as reproduced.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from mecheval_jax.errors import counted
from mecheval_jax.statistics.false_discovery import holm
from mecheval_jax.study.cells import StudyCells
from mecheval_jax.study.claims import ERROR_RATE, Claim, waits_for_rates, widths_of, with_interval

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
UNDECIDED, NOT_RUN = "undecided", "not run"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, UNDECIDED, NOT_RUN)

SHOWN = 6
"""Most things left out that a finding names; the others are counted."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A finding of the study.

    Attributes:
        number: Number in the list of findings.
        text: Statement of the study.
        essential: Parts that must have runs for the finding to be reproduced.
        claims: Function from results to the claims that must hold.
    """

    number: int
    text: str
    essential: tuple[str, ...]
    claims: Callable[[StudyCells], Iterable[Claim]]


def finding(number: int, text: str, *essential: str) -> Callable[[Callable], Finding]:
    """Turn a function from results to claims into a `Finding`; arguments are those of `Finding`."""
    return lambda claims: Finding(number, text, essential, claims)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """The judgement of a finding; a row of ``findings.csv``.

    Attributes:
        finding: Number of the finding.
        text: Statement of the study.
        verdict: One of `VERDICTS`.
        sentence: Reason, in one sentence.
        estimate: Number in the claim that decided.
        low: Lower end of its interval.
        high: Upper end of its interval.
        published: The same number in the study, or the range of its runs; empty if there is none.
        p_value: p-value, corrected for all findings.
        runs: Number of runs of the claim that decided.
        fewest_runs: Number of runs of the cell that has fewest, of those that it compares.
        missing: Essential parts that have no run to judge by.
        claims_judged: Number of claims that were judged.
        claims: Number of all claims.
        widths: Widths of the models that the judged claims rest on, from the smallest.
        supported: Number of claims that hold by themselves, at 5 %.
        contradicted: Number of claims that are false by themselves, at 5 %.
        not_run: Claims that were left out, shortened.
        evidence: All claims, including those without a run; rows of ``claims.csv``.
    """

    finding: int
    text: str
    verdict: str
    sentence: str
    estimate: float
    low: float
    high: float
    published: str
    p_value: float
    runs: int
    fewest_runs: int
    missing: str
    claims_judged: int
    claims: int
    widths: str
    supported: int
    contradicted: int
    not_run: str
    evidence: tuple[Claim, ...]

    @property
    def is_partial(self) -> bool:
        """Whether the judgement rests on a part of the claims."""
        return self.verdict != NOT_RUN and self.claims_judged < self.claims

    @property
    def at_widths(self) -> str:
        """The widths in words, such as ``widths 32, 64``; empty if no claim was judged."""
        plural = "s" * ("," in self.widths)
        return f"width{plural} {self.widths}" if self.widths else ""

    @property
    def waits_for_rates(self) -> bool:
        """Whether its open claims are open since another learning rate may do better."""
        return waits_for_rates(one for one in self.evidence if one.runs)

    @property
    def row(self) -> dict[str, Any]:
        """The columns of ``findings.csv``."""
        names = (field.name for field in dataclasses.fields(self))
        return {name: getattr(self, name) for name in names if name != "evidence"}


@dataclasses.dataclass(frozen=True)
class _Tested:
    """The claims of a finding, and its two p-values."""

    finding: Finding
    claims: Sequence[Claim]

    @property
    def known(self) -> list[Claim]:
        return [claim for claim in self.claims if claim.runs]

    @property
    def missing_parts(self) -> list[str]:
        judged = {claim.part for claim in self.known}
        return [part for part in self.finding.essential if part not in judged]

    @property
    def weakest(self) -> Claim:
        return max(self.known, key=lambda claim: claim.if_false)

    @property
    def most_contradicted(self) -> Claim:
        return min(self.known, key=lambda claim: claim.if_true)

    @property
    def if_false(self) -> float:
        return 1.0 if self.missing_parts else self.weakest.if_false

    @property
    def if_true(self) -> float:
        return min(1.0, len(self.known) * self.most_contradicted.if_true)

    @property
    def p_value(self) -> float:
        return min(1.0, 2 * min(self.if_false, self.if_true))

    @property
    def was_run(self) -> bool:
        return bool(self.known) and (
            len(self.missing_parts) < len(self.finding.essential) or self.if_true <= ERROR_RATE
        )


def judge(cells: StudyCells, findings: Sequence[Finding]) -> list[Judgement]:
    """Judge several findings together."""
    tested = [_Tested(finding, list(finding.claims(cells))) for finding in findings]
    # Corrected for all findings, those without a run too: what is run later then takes no verdict
    # of what was run before.
    corrected = holm([one.p_value if one.was_run else 1.0 for one in tested])
    return [
        _judged(one, p_value if one.was_run else None)
        for one, p_value in zip(tested, corrected, strict=True)
    ]


def _judged(tested: _Tested, p_value: float | None) -> Judgement:
    """The judgement of a finding, from its corrected p-value (None if it was not run)."""
    # The verdict, and the claim that decided it.
    missing = ", ".join(tested.missing_parts)
    if p_value is None:
        verdict, claim = NOT_RUN, None
        sentence = f"No run to judge by: {missing or 'anything of it'}."
    elif p_value > ERROR_RATE and missing:
        verdict, claim = UNDECIDED, tested.most_contradicted
        sentence = (
            f"Essential, and no run to judge by: {missing}. "
            f"The least certain claim so far is that {claim.text}: {_shown(claim)}."
        )
    elif p_value > ERROR_RATE:
        verdict, claim, said = UNDECIDED, tested.weakest, "Cannot be told that"
        if claim.if_false <= ERROR_RATE:
            said = f"Holds by itself (p = {claim.if_false:.2g}), not among all findings, that"
        elif tested.most_contradicted.if_true <= ERROR_RATE:
            claim = tested.most_contradicted
            said = f"False by itself (p = {claim.if_true:.2g}), not among all findings, that"
        sentence = f"{said} {claim.text}: {_shown(claim)}."
    elif tested.if_true < tested.if_false:
        verdict, claim = NOT_REPRODUCED, tested.most_contradicted
        sentence = f"Contradicted that {claim.text}: {_shown(claim)}."
    else:
        verdict, claim = REPRODUCED, tested.weakest
        sentence = (
            f"All claims that were run hold; the closest is that {claim.text}: {_shown(claim)}."
        )

    # The row, with the numbers of that claim.
    known, claims = tested.known, tested.claims
    left_out = [claim.text for claim in claims if not claim.runs]
    return Judgement(
        finding=tested.finding.number,
        text=tested.finding.text,
        verdict=verdict,
        sentence=sentence,
        estimate=claim.estimate if claim else math.nan,
        low=claim.interval[0] if claim else math.nan,
        high=claim.interval[1] if claim else math.nan,
        published=claim.published_text if claim else "",
        p_value=math.nan if p_value is None else p_value,
        runs=claim.runs if claim else 0,
        fewest_runs=claim.fewest if claim else 0,
        missing=missing,
        claims_judged=len(known),
        claims=len(claims),
        widths=", ".join(map(str, sorted(widths_of(known)))),
        supported=sum(claim.if_false <= ERROR_RATE for claim in known),
        contradicted=sum(claim.if_true <= ERROR_RATE for claim in known),
        not_run=_shortened(left_out),
        evidence=tuple(claims),
    )


def _shown(claim: Claim) -> str:
    runs = counted(claim.runs, "run")
    note = f" ({claim.note})" if claim.note else ""
    return f"{with_interval(claim.estimate, *claim.interval)}, {runs}{note}"


def _shortened(texts: Sequence[str]) -> str:
    shown = "; ".join(texts[:SHOWN])
    return f"{shown}; and {len(texts) - SHOWN} more" if len(texts) > SHOWN else shown


def findings_table(judgements: Iterable[Judgement]) -> pd.DataFrame:
    """Judgements as a table, one a row."""
    return pd.DataFrame([one.row for one in judgements])


CLAIMS = (
    "finding", "part", "claim", "runs", "estimate", "low", "high", "published", "p_if_false",
    "p_if_true", "note",
)  # fmt: skip


def claims_table(judgements: Iterable[Judgement]) -> pd.DataFrame:
    """All claims of the judgements, one a row; claims without a run have 0 runs."""
    rows = [
        (
            one.finding, claim.part, claim.text, claim.runs, claim.estimate, *claim.interval,
            claim.published_text, claim.if_false, claim.if_true, claim.note,
        )
        for one in judgements
        for claim in one.evidence
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(CLAIMS))


def findings_json(judgements: Iterable[Judgement]) -> str:
    """Judgements as JSON."""
    rows = [
        {name: None if isinstance(value, float) and math.isnan(value) else value
         for name, value in one.row.items()}
        for one in judgements
    ]  # fmt: skip
    return json.dumps(rows, indent=2) + "\n"
