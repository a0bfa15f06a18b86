"""Metrics of the cells of an interchange grid: the rows of ``interchange.csv``.

`store.columns` lists the columns, and `store.results` writes the file.
"""

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from mecheval_jax.evaluation.config import RESTORE
from mecheval_jax.evaluation.patching.effects import SMALLEST_GAP, effects
from mecheval_jax.evaluation.patching.exchange import CLEAN
from mecheval_jax.evaluation.patching.grid import Grid
from mecheval_jax.evaluation.rows import (
    SHARE,
    SIZE,
    describe,
    describe_share,
    place_of,
    with_discoveries,
)
from mecheval_jax.statistics.bootstrap import Estimate

RANGES = {
    **dict.fromkeys(("probability", "clean_probability", "corrupted_probability"), SHARE),
    "kl": SIZE,
}
"""Where the metrics of `Cells.at` lie that have bounds."""

TIE = 1e-6
"""Difference of probabilities up to which roles restore a document equally well."""


class Cells:
    """Metrics of the cells of a grid, all over the same resampled documents."""

    def __init__(self, grid: Grid):
        self.grid, self.effects = grid, effects(grid)

    def at(self, corruption: str, direction: str, site: str, role: str) -> dict[str, Estimate]:
        """All metrics of one site at one role; NaN where a metric is not known."""
        grid = self.grid
        d, c, (r,) = grid.evaluation.index(corruption, direction, role)
        measured = {name: values[d, c, r] for name, values in grid.patched[site].items()}
        base = grid.runs["logit"][1 + c if direction == RESTORE else CLEAN]
        gap = self.effects.gap(corruption)
        means = {
            "probability": measured["probability"],
            "clean_probability": gap.clean,
            "corrupted_probability": gap.corrupted,
            "logit_difference": measured["logit"] - base,
            "kl": measured["kl"],
        }
        mean = functools.partial(self.effects.bootstrap.mean, present=grid.present[r])
        attribution = self.effects.attribution(corruption, direction, site, role)
        return {"attribution": attribution} | {name: mean(x) for name, x in means.items()}

    def best_share(self, site: str, corruption: str) -> dict[str, tuple[float, int]]:
        """Share of documents for which each role restores best; a tie is split.

        Only documents count that have one of the roles, and whose clean run is more than
        `SMALLEST_GAP` above the corrupted one: in all others there is nothing to restore. Nor do
        those count in which the logits of a restored run are not finite.
        """
        grid, roles = self.grid, self.grid.evaluation.roles
        d, c, _ = grid.evaluation.index(corruption, RESTORE)
        restored = np.where(grid.present, grid.patched[site]["probability"][d, c], -np.inf)
        differs = self.effects.gap(corruption).sizes > SMALLEST_GAP
        known = ~np.isnan(restored).any(axis=0)
        restored = restored[:, differs & known & grid.present.any(axis=0)]
        documents = restored.shape[1]
        if documents == 0:
            return dict.fromkeys(roles, (np.nan, 0))
        best = restored >= restored.max(axis=0) - TIE
        shares = (best / best.sum(axis=0)).mean(axis=1)
        return {role: (float(share), documents) for role, share in zip(roles, shares, strict=True)}

    def rows(self) -> list[dict[str, Any]]:
        """The long table: one measured value a row, with its interval and documents.

        Values that are not known, because no document has the role or the gap is too small, are
        None. Attributions have a ``p_value`` against 0, and are ``significant`` at a false
        discovery rate of 5 % over all attributions of the grid.
        """
        return with_discoveries(list(self._rows()))

    def _rows(self) -> Iterator[dict[str, Any]]:
        roles, confidence = self.grid.evaluation.roles, self.grid.evaluation.confidence
        for case, site in itertools.product(self.effects.cases(), self.grid.sites):
            place = case | place_of(site)
            for role in roles:
                for metric, estimate in self.at(**case, site=site, role=role).items():
                    tested, within = metric == "attribution", RANGES.get(metric)
                    cell = describe(estimate, confidence, tested, within)
                    yield place | {"role": role, "metric": metric} | cell
            if case["direction"] == RESTORE:
                for role, best in self.best_share(site, case["corruption"]).items():
                    cell = describe_share(*best, confidence)
                    cell |= {"documents": best[1], "p_value": None}
                    yield place | {"role": role, "metric": "best_share"} | cell
