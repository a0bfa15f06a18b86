"""What exchanging an activation does to the answer, measured or estimated, in one form.

With y the probability of the answer (or its logit less the mean logit) in the clean run (o),
the corrupted run (c) and one in which an activation was exchanged (r), per document:

    change = y(r) - y(c) to restore, y(r) - y(o) to damage
    attribution = mean(+-change) / mean(y(o) - y(c))

as in `attribution`. The interchange grid measures the change; `gradients` estimates it. How
well an estimate orders what was measured is Spearman's rank correlation over the cells, site
by role, in which anything changes at all: where both runs have the same activation every
method says 0, and to count that as agreement would flatter it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.stats

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.attribution import attribution, describe, place_of
from mecheval_jax.evaluation.patching.grid import CLEAN, Grid
from mecheval_jax.statistics.bootstrap import Bootstrap, Estimate

EXACT = "exact"

UNCHANGED = 1e-6
"""Attributions this small are rounding: nothing has changed."""


@dataclasses.dataclass(frozen=True)
class Effects:
    """Changes of the answer by document.

    Attributes:
        method: by which they were found; ``exact`` if they were measured.
        measure: of `MEASURES`.
        sites: paths.
        roles, corruptions, directions: names of the axes of `changes`.
        present: [role, document] whether the document has the role.
        runs: [1 + corruption, document], the measure in the clean and the corrupted runs.
        changes: site -> [direction, corruption, role, document].
    """

    method: str
    measure: str
    sites: tuple[str, ...]
    roles: tuple[str, ...]
    corruptions: tuple[str, ...]
    directions: tuple[str, ...]
    present: np.ndarray
    runs: np.ndarray
    changes: dict[str, np.ndarray]

    @property
    def gaps(self) -> np.ndarray:
        """Clean less corrupted [corruption, document]."""
        return self.runs[CLEAN][None] - self.runs[1:]


def effects_of(grid: Grid, measure: str = "probability") -> Effects:
    """The effects that an interchange grid measured."""
    runs = np.asarray(grid.runs[measure], np.float64)
    bases = {"restore": runs[1:], "damage": np.broadcast_to(runs[CLEAN], runs[1:].shape)}
    base = np.stack([bases[direction] for direction in grid.directions])[:, :, None]
    return Effects(
        EXACT,
        measure,
        grid.sites,
        grid.roles,
        grid.corruptions,
        grid.directions,
        grid.present,
        runs,
        {site: grid.patched[site][measure] - base for site in grid.sites},
    )


def share_of_gap(
    changes: np.ndarray, gap: np.ndarray, present: np.ndarray, evaluation: EvaluationConfig
) -> list[Estimate]:
    """Ratio of means of changes and the gap, with the bootstrap over documents.

    A share is NaN where the mean gap is too small; see `attribution.attribution`.

    Args:
        changes: [cell, document].
        gap: [document].
        present: [cell, document] which documents a cell rests on.
        evaluation: resamples and seed; the resampled documents are those of `Scores`.
    """
    bootstrap = Bootstrap([len(gap)], evaluation.resamples, evaluation.seed)
    return [
        attribution(bootstrap, change, gap, here)
        for change, here in zip(changes, present, strict=True)
    ]


def attributions(
    effects: Effects, evaluation: EvaluationConfig, corruption: str, direction: str
) -> dict[tuple[str, str], Estimate]:
    """Attribution by site and role."""
    d, c = effects.directions.index(direction), effects.corruptions.index(corruption)
    sign = 1 if direction == "restore" else -1
    changes = np.concatenate([sign * effects.changes[site][d, c] for site in effects.sites])
    present = np.tile(effects.present, (len(effects.sites), 1))
    shares = share_of_gap(changes, effects.gaps[c], present, evaluation)
    cells = [(site, role) for site in effects.sites for role in effects.roles]
    return dict(zip(cells, shares, strict=True))


def rows(effects: Effects, evaluation: EvaluationConfig) -> Iterator[dict[str, Any]]:
    """The long table of attributions, one a row, with its method."""
    for corruption in effects.corruptions:
        for direction in effects.directions:
            place = {"method": effects.method, "measure": effects.measure}
            place |= {"corruption": corruption, "direction": direction}
            cells = attributions(effects, evaluation, corruption, direction)
            for (site, role), estimate in cells.items():
                named = place | place_of(site) | {"role": role, "metric": "attribution"}
                yield named | describe(estimate, evaluation.confidence)


def agreement(
    exact: Effects, estimates: Sequence[Effects], evaluation: EvaluationConfig
) -> Iterator[dict[str, Any]]:
    """Rank correlation of every estimate with what was measured, a row for each case.

    Values are None where fewer than two cells change. The interval is the bootstrap's, over
    documents.

    Raises:
        UserError: an estimate of another grid than `exact`.
    """
    axes = ("measure", "sites", "roles", "corruptions", "directions")
    for effects in estimates:
        for axis in axes:
            theirs, ours = getattr(effects, axis), getattr(exact, axis)
            if theirs != ours:
                raise UserError(f"{effects.method} has the {axis} {theirs}, the grid {ours}")
        for corruption in exact.corruptions:
            for direction in exact.directions:
                pair = [
                    attributions(each, evaluation, corruption, direction)
                    for each in (exact, effects)
                ]
                cells = [
                    cell
                    for cell in pair[0]
                    if any(abs(cells[cell].value) > UNCHANGED for cells in pair)  # nor is it NaN
                ]
                correlation = _correlation(*([each[cell] for cell in cells] for each in pair))
                yield {
                    "method": effects.method,
                    "measure": effects.measure,
                    "corruption": corruption,
                    "direction": direction,
                    "metric": "rank_correlation",
                    **describe(correlation, evaluation.confidence, tested=False),
                    "cells": len(cells),
                }


def _correlation(measured: list[Estimate], estimated: list[Estimate]) -> Estimate:
    """Rank correlation over cells, in the documents as they are and resampled."""
    if len(measured) < 2:
        return Estimate(np.nan, np.full(0, np.nan), 0)
    one, other = (
        np.stack([np.append(cell.value, cell.samples) for cell in cells], axis=1)
        for cells in (measured, estimated)
    )
    correlations = rank_correlations(one, other)
    documents = max(cell.documents for cell in measured)
    return Estimate(float(correlations[0]), correlations[1:], documents)


def rank_correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of two arrays [samples, cells]; ties share ranks."""
    ranks = [scipy.stats.rankdata(values, axis=1) for values in (one, other)]
    one, other = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    spread = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (one * other).sum(axis=1) / spread
