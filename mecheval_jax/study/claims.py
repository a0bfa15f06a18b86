"""Claims about the numbers of findings, and how several are one.

A claim has two p-values, of the hypotheses that it is false and that it is true. Claims that must
hold together, and claims of which any suffices, are claims themselves.
"""

import dataclasses
import math
from collections.abc import Iterable

from mecheval_jax.statistics.intervals import Interval

ERROR_RATE = 0.05
"""Chance of one or more wrong judgements among all findings."""

UNTRIED = "another learning rate may do better"
"""Note on a claim that is open because a cell was run at one learning rate, or one was ahead."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement about numbers, with the support of the replicates.

    Attributes:
        text: The statement.
        part: Part of the finding to which the claim belongs.
        estimate: Our value of the number in the statement.
        interval: Interval of the estimate.
        if_false: p-value of the hypothesis that the statement is false; a small one supports it.
        if_true: p-value of the hypothesis that it is true; a small one contradicts it.
        runs: Number of runs that it rests on; 0 if there are none, and nothing is known.
        published: The study's value of the same number; None if it shows none.
        note: What a reader should know of the estimate; empty if nothing.
        fewest: Number of runs of the cell that has fewest, of those that are compared.
        widths: Widths of the models that it rests on.
    """

    text: str
    part: str = ""
    estimate: float = math.nan
    interval: Interval = (math.nan, math.nan)
    if_false: float = 1.0
    if_true: float = 1.0
    runs: int = 0
    published: Interval | None = None
    note: str = ""
    fewest: int = 0
    widths: frozenset[int] = frozenset()

    @property
    def published_text(self) -> str:
        """The published number, or the range of published runs; empty if there is none."""
        if self.published is None:
            return ""
        return " to ".join(dict.fromkeys(f"{end:.3f}" for end in self.published))


def all_of(text: str, claims: Iterable[Claim]) -> Claim:
    """Several claims that must hold together, as one: as well supported as the weakest of them."""
    claims = list(claims)
    known = [claim for claim in claims if claim.runs]
    if len(known) < len(claims) or not known:
        return Claim(text, claims[0].part if claims else "")
    weakest = max(known, key=lambda claim: (claim.if_false, -claim.if_true))
    against = min(known, key=lambda claim: claim.if_true)
    return dataclasses.replace(
        weakest,
        text=text,
        if_true=min(1.0, len(known) * against.if_true),
        note=UNTRIED if waits_for_rates(known) else "",
        widths=widths_of(known),
    )


def any_of(text: str, part: str, claims: Iterable[Claim]) -> Claim:
    """Several claims of which at least one must hold.

    Those that are known can support the statement. It is contradicted only if all are known, since
    any other may hold.
    """
    claims = list(claims)
    known = [claim for claim in claims if claim.runs]
    if not known:
        return Claim(text, part)
    strongest = min(known, key=lambda claim: (claim.if_false, -claim.if_true))
    return dataclasses.replace(
        strongest,
        text=f"{text}: {strongest.text}",
        part=part,
        if_false=min(1.0, len(known) * strongest.if_false),
        if_true=max(claim.if_true for claim in claims),
    )


def waits_for_rates(claims: Iterable[Claim]) -> bool:
    """Whether those of several claims that do not hold yet wait for further learning rates."""
    lacking = [claim for claim in claims if claim.if_false > ERROR_RATE]
    return bool(lacking) and all(claim.note == UNTRIED for claim in lacking)


def widths_of(claims: Iterable[Claim]) -> frozenset[int]:
    """Widths of the models that claims rest on."""
    return frozenset().union(*(claim.widths for claim in claims))


def with_interval(value: float, low: float, high: float) -> str:
    """A quantity with its interval, as pages on findings have it: ``0.910 [0.875, 0.939]``."""
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"
