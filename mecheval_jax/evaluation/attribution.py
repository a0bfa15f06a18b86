"""Scores of the interchange grid, with intervals over documents.

With p(o), p(c), p(r) the mean probability of the original answer in the clean, corrupted
and patched run over the documents that have the role:

    attribution        = (p(r) - p(c)) / (p(o) - p(c))    clean put into corrupted
    damage attribution = (p(o) - p(r)) / (p(o) - p(c))    corrupted put into clean

a ratio of means and not a mean of ratios, so that documents with a small gap cannot
dominate; reported only where the gap p(o) - p(c) is above `SMALLEST_GAP`. Intervals are
percentiles of a paired bootstrap over documents.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.interchange import CLEAN, Grid
from mecheval_jax.evaluation.statistics import bootstrap_weights, percentile_interval, wilson

SMALLEST_GAP = 0.01
TIE = 1e-6
"""Probabilities closer than this are equally good restorers of a document."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its bootstrap.

    Attributes:
        value: over the documents as they are.
        samples: over resampled documents.
        documents: how many it rests on.
    """

    value: float
    samples: np.ndarray
    documents: int

    def interval(self, confidence: float) -> tuple[float, float]:
        """The middle `confidence` of the samples."""
        return percentile_interval(self.samples, confidence)


class Scores:
    """Scores of a grid; all share one set of resampled documents."""

    def __init__(self, grid: Grid, evaluation: EvaluationConfig):
        self.grid, self.evaluation = grid, evaluation
        self._weights = bootstrap_weights(
            grid.present.shape[1], evaluation.resamples, evaluation.seed
        )

    def mean(self, values: np.ndarray, present: np.ndarray) -> Estimate:
        """Mean of `values` over the documents where `present` holds."""
        documents = int(present.sum())
        if documents == 0:
            return Estimate(np.nan, np.full(len(self._weights), np.nan), 0)
        weights = self._weights * present
        total = weights.sum(axis=1)
        with np.errstate(invalid="ignore"):
            samples = np.where(total > 0, (weights @ np.where(present, values, 0)) / total, np.nan)
        return Estimate(float(values[present].mean()), samples, documents)

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
        means = {
            "probability": self.mean(measured["probability"], present),
            "clean_probability": self.mean(clean["probability"], present),
            "corrupted_probability": self.mean(corrupted["probability"], present),
            "logit_difference": self.mean(measured["logit"] - base["logit"], present),
            "kl": self.mean(measured["kl"], present),
        }
        return {"attribution": _attribution(means, direction)} | means

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


def _attribution(means: dict[str, Estimate], direction: str) -> Estimate:
    restored, clean, corrupted = (
        means[name] for name in ("probability", "clean_probability", "corrupted_probability")
    )

    def ratio(r, o, c):
        effect = r - c if direction == "restore" else o - r
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(np.abs(o - c) > 0, effect / (o - c), np.nan)

    if not clean.value - corrupted.value > SMALLEST_GAP:
        return Estimate(np.nan, np.full(len(clean.samples), np.nan), restored.documents)
    return Estimate(
        float(ratio(restored.value, clean.value, corrupted.value)),
        ratio(restored.samples, clean.samples, corrupted.samples),
        restored.documents,
    )


def rows(scores: Scores) -> Iterator[dict[str, Any]]:
    """The long table: one measured value a row, with its interval and documents.

    Values that cannot be told (no document has the role, or the gap is too small) are None.
    """
    grid, confidence = scores.grid, scores.evaluation.confidence
    for corruption in grid.corruptions:
        for direction in grid.directions:
            for site in grid.sites:
                place = {"corruption": corruption, "direction": direction, **place_of(site)}
                for role in grid.roles:
                    for metric, estimate in scores.cell(site, direction, corruption, role).items():
                        yield (
                            place
                            | {"role": role, "metric": metric}
                            | describe(estimate, confidence)
                        )
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
                        }


def place_of(site: str) -> dict[str, Any]:
    """Layer, component and path of a site; the layer is None outside the blocks."""
    block, _, component = site.partition("/")
    if not component:
        return {"layer": None, "component": site, "site": site}
    return {"layer": int(block.removeprefix("block_")), "component": component, "site": site}


def describe(estimate: Estimate, confidence: float) -> dict[str, Any]:
    """Value, interval and documents of an estimate as cells of a row; None for what is NaN."""
    if np.isnan(estimate.value):
        return {"value": None, "low": None, "high": None, "documents": estimate.documents}
    low, high = estimate.interval(confidence)
    return {"value": estimate.value, "low": low, "high": high, "documents": estimate.documents}
