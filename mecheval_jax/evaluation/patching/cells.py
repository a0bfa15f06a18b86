"""The cells of an interchange grid as a table: the rows of ``interchange.csv``."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mecheval_jax.evaluation.patching.effects import SMALLEST_GAP, effects
from mecheval_jax.evaluation.patching.grid import CLEAN, Grid
from mecheval_jax.evaluation.rows import describe, place_of, with_discoveries
from mecheval_jax.statistics.bootstrap import Estimate
from mecheval_jax.statistics.intervals import wilson

TIE = 1e-6
"""Probabilities closer than this are equally good restorers of a document."""


class Cells:
    """Metrics of the cells of a grid; all share one set of resampled documents."""

    def __init__(self, grid: Grid):
        self.grid, self.effects = grid, effects(grid)

    def at(self, corruption: str, direction: str, site: str, role: str) -> dict[str, Estimate]:
        """All metrics of one site at one role; one that cannot be told is NaN."""
        grid, evaluation = self.grid, self.grid.evaluation
        d, c, r = (
            evaluation.directions.index(direction),
            evaluation.corruptions.index(corruption),
            evaluation.roles.index(role),
        )
        present = grid.present[r]
        measured = {name: values[d, c, r] for name, values in grid.patched[site].items()}
        base = grid.runs["logit"][1 + c if direction == "restore" else CLEAN]
        gap, mean = self.effects.gap(corruption), self.effects.bootstrap.mean
        return {
            "attribution": self.effects.attribution(corruption, direction, site, role),
            "probability": mean(measured["probability"], present),
            "clean_probability": mean(gap.clean, present),
            "corrupted_probability": mean(gap.corrupted, present),
            "logit_difference": mean(measured["logit"] - base, present),
            "kl": mean(measured["kl"], present),
        }

    def best_share(self, site: str, corruption: str) -> dict[str, tuple[float, int]]:
        """Share of documents for which each role restores best; ties are split.

        Over documents whose clean run is more than `SMALLEST_GAP` above the corrupted
        one: elsewhere there is nothing to restore.
        """
        grid, evaluation = self.grid, self.grid.evaluation
        d, c = evaluation.directions.index("restore"), evaluation.corruptions.index(corruption)
        restored = np.where(grid.present, grid.patched[site]["probability"][d, c], -np.inf)
        restored = restored[:, self.effects.gap(corruption).sizes > SMALLEST_GAP]
        documents = restored.shape[1]
        if documents == 0:
            return dict.fromkeys(evaluation.roles, (np.nan, 0))
        best = restored >= restored.max(axis=0) - TIE
        shares = (best / best.sum(axis=0)).mean(axis=1)
        return {
            role: (float(share), documents)
            for role, share in zip(evaluation.roles, shares, strict=True)
        }

    def rows(self) -> list[dict[str, Any]]:
        """The long table: one measured value a row, with its interval and documents.

        Values that cannot be told (no document has the role, or the gap is too small) are None.
        Attributions have a ``p_value`` against 0, and are ``significant`` at a false discovery
        rate of 5 % over all attributions of the grid.
        """
        return with_discoveries(list(self._rows()))

    def _rows(self) -> Iterator[dict[str, Any]]:
        evaluation = self.grid.evaluation
        for corruption in evaluation.corruptions:
            for direction in evaluation.directions:
                for site in self.grid.sites:
                    place = {"corruption": corruption, "direction": direction, **place_of(site)}
                    for role in evaluation.roles:
                        cell = self.at(corruption, direction, site, role)
                        for metric, estimate in cell.items():
                            tested = metric == "attribution"
                            row = describe(estimate, evaluation.confidence, tested)
                            yield place | {"role": role, "metric": metric} | row
                    if direction == "restore":
                        yield from self._best_rows(site, corruption, place)

    def _best_rows(
        self, site: str, corruption: str, place: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        for role, (share, documents) in self.best_share(site, corruption).items():
            row = {"documents": documents, "value": None, "low": None, "high": None}
            if documents:
                low, high = wilson(share * documents, documents, self.grid.evaluation.confidence)
                row |= {"value": share, "low": low, "high": high}
            yield place | {"role": role, "metric": "best_share"} | row | {"p_value": None}
