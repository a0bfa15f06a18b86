"""Readings of single attributions, which tables and figures show beside a verdict.

Rows are those of ``interchange.csv`` or of a verdict's evidence: dicts with ``site``, ``role``,
``value``, ``low`` and ``high``.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mecheval_jax.evaluation.config import DAMAGE, RESTORE
from mecheval_jax.evaluation.verdict.exchanges import WITHHOLD
from mecheval_jax.evaluation.verdict.rule import NOT_LEARNED, RESTORED, SUBSTANTIAL
from mecheval_jax.site_path import SitePath

WORDS = {RESTORE: "restores", DAMAGE: "damages", WITHHOLD: "needed"}
"""What an exchange does whose attribution is above the rule's bound, by its direction."""


def reading(low: float | None, high: float | None, direction: str = RESTORE) -> str:
    """An interval of an attribution in the words of the rule."""
    if low is None or high is None:
        return "cannot be told"
    if low > RESTORED:
        return WORDS.get(direction, WORDS[RESTORE])
    if low > SUBSTANTIAL:
        return "substantial"
    if high < -SUBSTANTIAL:
        return "lowers"
    return "negligible" if low > -SUBSTANTIAL and high < SUBSTANTIAL else "unclear"


def look_up_site(sites: Iterable[str]) -> SitePath | None:
    """The one of several sites that tells the mechanisms apart; None if it is missing.

    It is the first input of a layer that another layer has written: a pair that was bound in the
    context is there, at the value, before anything looks it up.
    """
    later = [site for site in map(SitePath.parse, dict.fromkeys(sites)) if site.layer]
    inputs = [site for site in later if site.component == "block_input"]
    return min(inputs, key=lambda site: site.layer, default=None)


def at(
    rows: Iterable[Mapping[str, Any]], site: SitePath | str | None, role: str
) -> Mapping[str, Any]:
    """The row of a site and role; an empty one if it was not measured."""
    path = None if site is None else str(site)
    for row in rows:
        if row["site"] == path and row["role"] == role:
            return row
    return {"site": path, "role": role, "value": None, "low": None, "high": None}


def known(
    rows: Iterable[Mapping[str, Any]], site: SitePath | str | None, role: str
) -> Mapping[str, Any] | None:
    """The row of a site and role; None if it was not measured."""
    found = at(rows, site, role)
    return None if found["value"] is None else found


def bound(rows: Sequence[Mapping[str, Any]], site: SitePath | None) -> Mapping[str, Any]:
    """The row at the value, or at the next key if that one restores instead.

    Short convolutions bind a pair one token later, so the verdict covers both.
    """
    value, following = at(rows, site, "value"), at(rows, site, "next_key")
    restored = following["value"]
    if restored is None or not restored > SUBSTANTIAL:
        return value
    known = value["value"] is not None and not math.isnan(value["value"])
    return following if not known or restored > value["value"] else value


def parts_of_pair(
    rows: Sequence[Mapping[str, Any]], site: SitePath | None
) -> dict[str, Mapping[str, Any]]:
    """The rows that stand for ``value`` (the pair), ``key`` (what precedes it) and ``query``.

    Evidence of earlier versions has single roles in the place of the sets of positions.
    """
    return {
        "value": known(rows, site, "pair") or bound(rows, site),
        "key": known(rows, site, "loose") or at(rows, site, "key"),
        "query": known(rows, site, "question") or at(rows, site, "query"),
    }


def has_learned(low: float | None, floor: float, verdict: str | float | None) -> bool:
    """Whether a run answers more than can be had without recall.

    The interval of its accuracy lies above the best floor, and its verdict, which is stricter
    where it has one, does not say otherwise.

    Args:
        low: Lower end of the accuracy's interval; None or NaN where it was not measured.
        floor: Accuracy of the best floor.
        verdict: Its verdict; None or NaN without one.
    """
    return bool(low is not None and low > floor and verdict != NOT_LEARNED)


def summary_has_learned(summary: Mapping[str, Any]) -> bool:
    """Whether the run of a summary has learned (`has_learned`)."""
    low, floor = summary["accuracy_low"], summary["floors"]["best"]
    return has_learned(low, floor, summary.get("verdict"))
