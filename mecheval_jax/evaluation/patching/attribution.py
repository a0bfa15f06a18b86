"""Scores of the interchange grid, with intervals over documents.

With p(o), p(c), p(r) the mean probability of the original answer in the clean, corrupted
and patched run over the documents that have the role:

    attribution        = (p(r) - p(c)) / (p(o) - p(c))    clean put into corrupted
    damage attribution = (p(o) - p(r)) / (p(o) - p(c))    corrupted put into clean

a ratio of means and not a mean of ratios, so that documents with a small gap cannot
dominate; reported only where the gap p(o) - p(c) is above `SMALLEST_GAP`. Intervals are
those of a paired bootstrap over documents (`statistics`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.grid import CLEAN, Grid
from mecheval_jax.site_path import SitePath
from mecheval_jax.statistics.bootstrap import Bootstrap, Estimate
from mecheval_jax.statistics.false_discovery import discoveries, p_value
from mecheval_jax.statistics.intervals import wilson

SMALLEST_GAP = 0.01
TIE = 1e-6
"""Probabilities closer than this are equally good restorers of a document."""


class Scores:
    """Scores of a grid; all share one set of resampled documents."""

    def __init__(self, grid: Grid, evaluation: EvaluationConfig):
        self.grid, self.evaluation = grid, evaluation
        self.bootstrap = Bootstrap([grid.present.shape[1]], evaluation.resamples, evaluation.seed)

    def cell(self, site: str, direction: str, corruption: str, role: str) -> dict[str, Estimate]:
        """All scores of one site at one role; a score that cannot be told is NaN."""
        grid = self.grid
        d, c, r = (
            grid.directions.index(direction),
            grid.corruptions.index(corruption),
            grid.roles.index(role),
        )
        present = grid.present[r]
        measured = {name: values[d, c, r] for name, values in grid.patched[site].items()}
        clean, corrupted = (
            {name: values[index] for name, values in grid.runs.items()} for index in (CLEAN, 1 + c)
        )
        base = corrupted if direction == "restore" else clean
        mean = self.bootstrap.mean
        restored, start = measured["probability"], base["probability"]
        effect = restored - start if direction == "restore" else start - restored
        gap = clean["probability"] - corrupted["probability"]
        return {
            "attribution": attribution(self.bootstrap, effect, gap, present),
            "probability": mean(restored, present),
            "clean_probability": mean(clean["probability"], present),
            "corrupted_probability": mean(corrupted["probability"], present),
            "logit_difference": mean(measured["logit"] - base["logit"], present),
            "kl": mean(measured["kl"], present),
        }

    def best_share(self, site: str, corruption: str) -> dict[str, tuple[float, int]]:
        """Share of documents for which each role restores best; ties are split.

        Over documents whose clean run is more than `SMALLEST_GAP` above the corrupted
        one: elsewhere there is nothing to restore.
        """
        grid = self.grid
        d, c = grid.directions.index("restore"), grid.corruptions.index(corruption)
        restored = np.where(grid.present, grid.patched[site]["probability"][d, c], -np.inf)
        gap = grid.runs["probability"][0] - grid.runs["probability"][1 + c]
        restored = restored[:, gap > SMALLEST_GAP]
        documents = restored.shape[1]
        if documents == 0:
            return dict.fromkeys(grid.roles, (np.nan, 0))
        best = restored >= restored.max(axis=0) - TIE
        shares = (best / best.sum(axis=0)).mean(axis=1)
        return {role: (float(s), documents) for role, s in zip(grid.roles, shares, strict=True)}


def attribution(
    bootstrap: Bootstrap, effect: np.ndarray, gap: np.ndarray, present: np.ndarray
) -> Estimate:
    """Mean effect over mean gap; NaN where the gap is too small to divide by.

    Args:
        bootstrap: of the documents.
        effect: change of the answer's probability in each document.
        gap: p(o) - p(c) of each.
        present: documents that it is taken over.
    """
    if not (present.any() and gap[present].mean() > SMALLEST_GAP):
        return Estimate(np.nan, np.full(len(bootstrap.weights), np.nan), int(present.sum()))
    return bootstrap.ratio(effect, gap, present)


def rows(scores: Scores) -> list[dict[str, Any]]:
    """The long table: one measured value a row, with its interval and documents.

    Values that cannot be told (no document has the role, or the gap is too small) are None.
    Attributions have a ``p_value`` against 0, and are ``significant`` at a false discovery rate of
    5 % over all attributions of the grid.
    """
    return with_discoveries(list(_rows(scores)))


def _rows(scores: Scores) -> Iterator[dict[str, Any]]:
    grid, confidence = scores.grid, scores.evaluation.confidence
    for corruption in grid.corruptions:
        for direction in grid.directions:
            for site in grid.sites:
                place = {"corruption": corruption, "direction": direction, **place_of(site)}
                for role in grid.roles:
                    for metric, estimate in scores.cell(site, direction, corruption, role).items():
                        row = describe(estimate, confidence, tested=metric == "attribution")
                        yield place | {"role": role, "metric": metric} | row
                if direction == "restore":
                    for role, (share, documents) in scores.best_share(site, corruption).items():
                        low, high = wilson(share * documents, documents, confidence)
                        known = documents > 0
                        yield place | {
                            "role": role,
                            "metric": "best_share",
                            "value": share if known else None,
                            "low": low if known else None,
                            "high": high if known else None,
                            "documents": documents,
                            "p_value": None,
                        }


def with_discoveries(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with ``significant``: tested together; None where there is no p-value."""
    p_values = np.array([np.nan if row["p_value"] is None else row["p_value"] for row in table])
    found = discoveries(p_values)
    tested = ~np.isnan(p_values)
    return [
        row | {"significant": bool(found[i]) if tested[i] else None} for i, row in enumerate(table)
    ]


def place_of(site: str) -> dict[str, Any]:
    """Layer, component and path of a site; the layer is None outside the blocks."""
    return {**vars(SitePath.parse(site)), "site": site}


def describe(estimate: Estimate, confidence: float, tested: bool = True) -> dict[str, Any]:
    """Value, interval, documents and p-value of an estimate as cells of a row."""
    row = {"documents": estimate.documents, "value": None, "low": None, "high": None}
    if np.isnan(estimate.value):
        return row | {"p_value": None}
    low, high = estimate.interval(confidence)
    p = p_value(estimate) if tested else None
    return row | {"value": estimate.value, "low": low, "high": high, "p_value": p}
