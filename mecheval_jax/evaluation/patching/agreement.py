"""Agreement of estimated effects with measured ones.

It is Spearman's rank correlation over the cells, a cell being a site at a role. Only those count to
which some method, or the measurement, gives an effect: where both runs have the same activation all
give 0, and counting this as agreement would flatter them. All methods are compared over the same
cells.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.stats

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.patching.effects import Effects
from mecheval_jax.evaluation.rows import CORRELATION, describe, place_of
from mecheval_jax.statistics.bootstrap import Estimate

UNCHANGED = 1e-6
"""Attributions up to this size are rounding errors: nothing has changed."""


def attribution_rows(effects: Effects) -> Iterator[dict[str, Any]]:
    """The long table of attributions with their method, one a row."""
    for case in effects.cases():
        for (site, role), estimate in _attributions(effects, case).items():
            named = {"method": effects.method, "measure": effects.measure, **case}
            named |= place_of(site) | {"role": role, "metric": "attribution"}
            yield named | describe(estimate, effects.evaluation.confidence)


def agreement_rows(exact: Effects, estimates: Sequence[Effects]) -> Iterator[dict[str, Any]]:
    """Rank correlation of every estimate with the measured effects, for each case.

    The value is None if fewer than two cells have an effect. The interval is the bootstrap's, over
    documents. A method that should account for the whole gap (`Effects.whole`) has its
    ``completeness`` beside: the share of it for which it does.

    Raises:
        UserError: If an estimate is of another grid than `exact`.
    """
    for estimate in estimates:
        _check_axes(exact, estimate)
    for case in exact.cases():
        measured, *estimated = (_attributions(each, case) for each in (exact, *estimates))
        cells = [
            cell
            for cell in measured
            if any(abs(one[cell].value) > UNCHANGED for one in (measured, *estimated))  # nor NaN
        ]
        for estimate, own in zip(estimates, estimated, strict=True):
            pair = ([each[cell] for cell in cells] for each in (measured, own))
            correlation = _correlation(*pair)
            named = {"method": estimate.method, "measure": estimate.measure, **case}
            found = describe(
                correlation, exact.evaluation.confidence, tested=False, within=CORRELATION
            )
            yield named | {"metric": "rank_correlation", **found, "cells": len(cells)}
            # The whole is the same in both directions, and told once.
            is_first = case["direction"] == exact.evaluation.directions[0]
            if is_first and estimate.whole is not None:
                corruption = case["corruption"]
                index = estimate.evaluation.corruptions.index(corruption)
                share = estimate.gap(corruption).share(estimate.whole[index])
                found = describe(share, exact.evaluation.confidence, tested=False)
                yield named | {"metric": "completeness", **found}


def _attributions(effects: Effects, case: dict[str, str]) -> dict[tuple[str, str], Estimate]:
    """Attribution by site and role."""
    return {
        (site, role): effects.attribution(*case.values(), site, role)
        for site in effects.sites
        for role in effects.evaluation.roles
    }


def _check_axes(exact: Effects, estimate: Effects) -> None:
    for axis in ("measure", "sites", "roles", "corruptions", "directions"):
        theirs, ours = (
            getattr(each if hasattr(each, axis) else each.evaluation, axis)
            for each in (estimate, exact)
        )
        if theirs != ours:
            raise UserError(f"{estimate.method} has the {axis} {theirs}, the grid {ours}")


def _correlation(measured: list[Estimate], estimated: list[Estimate]) -> Estimate:
    """Rank correlation over cells, for the documents and for every resample of them."""
    if len(measured) < 2:
        return Estimate.unknown(0, 0)
    one, other = (
        np.stack([np.append(cell.value, cell.samples) for cell in cells], axis=1)
        for cells in (measured, estimated)
    )
    correlations = rank_correlations(one, other)
    documents = max(cell.documents for cell in measured)
    return Estimate.of_values(correlations, documents)


def rank_correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of two arrays [samples, cells]; ties share ranks."""
    ranks = [scipy.stats.rankdata(values, axis=1) for values in (one, other)]
    one, other = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    spread = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (one * other).sum(axis=1) / spread
