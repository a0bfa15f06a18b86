"""Numbers by which circuits are compared: those of the Mechanistic Interpretability Benchmark.

With f(k) the faithfulness of the circuit of the share k of all edges (`circuits`), after
Mueller et al. 2025 (arXiv 2504.13151):

    CPR     integral of f(k) over k, the circuit performance ratio: more is better
    CMD     integral of |1 - f(k)|, the circuit-model distance: 0 is best
    AUROC   probability that a known edge of the mechanism ranks above one that is not in it

The benchmark takes the trapezoidal rule through `FRACTIONS`, whose circuits have the whole number
of edges below; through every size that was run it is exact on small graphs. Each number has the
paired bootstrap over documents, in which orders of edges stay as they are but for AUROC, which
is about the orders.

Uniqueness asks whether a circuit is the only one: among the circuits of edges that it lacks, the
best one restores a share of the answer, and the uniqueness is what is left of 1.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from mecheval_jax.array_types import Bool, Float
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.patching.circuits import (
    FRACTIONS,
    RANDOM,
    Faithfulness,
    describe_draws,
    run_circuits,
    size_at,
    sizes_of,
    smallest_circuit,
)
from mecheval_jax.evaluation.patching.edge_scores import EdgeScores
from mecheval_jax.evaluation.patching.effects import Gap
from mecheval_jax.evaluation.patching.graph import Edge
from mecheval_jax.evaluation.rows import SHARE, SIZE, describe
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.statistics.bootstrap import Estimate

POINTS = ("fractions", "every size")
"""Sizes through which areas are taken: the benchmark's ten, and all that were run."""


RANGES = {"cmd": SIZE}
"""Where those of `Areas` lie that have bounds."""


class Areas(NamedTuple):
    """Areas at a curve of faithfulness over the share of edges.

    Attributes:
        cpr: Circuit performance ratio (CPR), the area under the curve.
        cmd: Circuit-model distance (CMD), the area between the curve and 1.
    """

    cpr: Estimate
    cmd: Estimate


class Uniqueness(NamedTuple):
    """The best circuit of edges that another one lacks.

    Attributes:
        edges: Number of its edges.
        faithfulness: Share of the answer that it restores.
        uniqueness: 1 less that share, within 0 and 1.
    """

    edges: int
    faithfulness: Estimate
    uniqueness: Estimate


def areas(shares: Sequence[Estimate], fractions: Sequence[float]) -> Areas:
    """Circuit performance ratio (CPR) and circuit-model distance (CMD) of a curve.

    Both are given for the documents and for every resample of them.

    Args:
        shares: Faithfulness at each of the fractions.
        fractions: Shares of all edges, rising from 0 to 1.
    """
    curves = np.stack([np.append(share.value, share.samples) for share in shares])
    found = (np.trapezoid(y, fractions, axis=0) for y in (curves, np.abs(1 - curves)))
    documents = max(share.documents for share in shares)
    return Areas(*(Estimate.of_values(area, documents) for area in found))


def areas_of(found: Faithfulness, corruption: str, points: str, draw: int | None = None) -> Areas:
    """Circuit performance ratio (CPR) and circuit-model distance (CMD) of measured circuits.

    Args:
        found: Answers in circuits.
        corruption: Corruption under which edges outside a circuit do not carry the answer.
        points: One of `POINTS`.
        draw: Index of the random order; None for the best edges.

    Raises:
        UserError: If the circuits of the benchmark's fractions were not run.
    """
    c, edges = found.evaluation.corruptions.index(corruption), max(found.sizes)
    answers = found.circuit[c] if draw is None else found.random[c, draw]
    if points == POINTS[1]:
        fractions, sizes = [size / edges for size in found.sizes], list(found.sizes)
    else:
        fractions, sizes = list(FRACTIONS), [size_at(fraction, edges) for fraction in FRACTIONS]
    missing = sorted(set(sizes) - set(found.sizes))
    if missing:
        raise UserError(f"circuits of {missing[0]} edges were not run: only {found.sizes}")
    gap = found.gap(corruption)
    shares = [gap.restored(answers[found.sizes.index(size)]) for size in sizes]
    return areas(shares, fractions)


def auroc(scores: EdgeScores, known: Iterable[Edge], corruption: str) -> Estimate:
    """Probability that a known edge ranks above another by its |mean score|; ties count half.

    Args:
        scores: Scores of all edges of a model.
        known: Edges of its mechanism.
        corruption: Corruption under which they were scored.

    Raises:
        UserError: If the model lacks one of the edges, or all or none are known.
    """
    true = _are_known(scores, known)
    values = area_under_roc(_sizes(scores, corruption), true)
    return Estimate.of_values(values, scores.changes.shape[-1])


def random_auroc(
    scores: EdgeScores, known: Iterable[Edge], confidence: float, draws: int = 2000
) -> dict[str, Any]:
    """Mean and central interval of the AUROC of random orders of a model's edges, as cells."""
    true = _are_known(scores, known)
    drawn = np.random.default_rng(scores.evaluation.seed).random((draws, len(true)))
    return describe_draws(list(area_under_roc(drawn, true)), confidence)


def recovered(
    scores: EdgeScores, exact: EdgeScores, known: Iterable[Edge], corruption: str
) -> Estimate:
    """Share of its effect that a method gives to the known edge of which it gives least.

    An AUROC of 1 says that known edges rank above all others, and not that their scores are near
    their effects: behind a saturated pattern they may be a millionth of them.

    Args:
        scores: Scores of all edges of a model.
        exact: Their effects, by exact patching of the same documents.
        known: Edges of its mechanism.
        corruption: Corruption under which they were scored.

    Raises:
        UserError: If the model lacks one of the edges, or all or none are known.
    """
    true = _are_known(scores, known)
    given, effects = (_sizes(each, corruption)[:, true] for each in (scores, exact))
    # An edge that carries the answer of few documents may have no effect in a resample.
    values = np.divide(given, effects, out=np.full_like(given, np.inf), where=effects > 0)
    values = values.min(axis=1)
    return Estimate.of_values(values, scores.changes.shape[-1])


def _are_known(scores: EdgeScores, known: Iterable[Edge]) -> Bool[np.ndarray, " edges"]:
    true = np.zeros(len(scores.graph.edges), bool)
    true[[scores.graph.number(edge) for edge in known]] = True
    if true.all() or not true.any():
        raise UserError(f"{true.sum()} of {len(true)} edges are known: some must be, and some not")
    return true


def _sizes(scores: EdgeScores, corruption: str) -> Float[np.ndarray, "replicates edges"]:
    """|Mean score| of every edge over all documents, and over every resample of them."""
    changes = scores.changes[scores.evaluation.corruptions.index(corruption)]
    whole = np.full((1, changes.shape[1]), 1 / changes.shape[1])
    return np.abs(np.concatenate([whole, scores.bootstrap.weights]) @ changes.T)


def area_under_roc(scores: np.ndarray, true: Bool[np.ndarray, " edges"]) -> np.ndarray:
    """Probability that a true edge has a higher score than another, for rows of scores."""
    ranks, count = scipy.stats.rankdata(scores, axis=-1), true.sum()
    above = ranks[..., true].sum(axis=-1) - count * (count + 1) / 2
    return above / (count * (~true).sum())


def uniqueness(
    subject: Subject, scores: EdgeScores, circuit: Bool[np.ndarray, " edges"], corruption: str
) -> Uniqueness:
    """The best circuit that shares no edge with another one.

    The other edges are taken in the order of their scores, and of these circuits the one that
    restores most counts; that it was chosen among several makes its share a little too large, so
    that the uniqueness is on the safe side. Of a model whose answers hardly depend on what is
    corrupted no share is known, and the uniqueness is nan.

    Args:
        subject: Subject whose edges were scored.
        scores: Scores by which edges are ranked.
        circuit: Whether each edge is in the circuit whose uniqueness is asked.
        corruption: One of the corruptions under which the edges were scored.
    """
    return _uniqueness(subject, scores, [circuit], corruption)[0]


def _uniqueness(
    subject: Subject,
    scores: EdgeScores,
    circuits: Sequence[Bool[np.ndarray, " edges"]],
    corruption: str,
) -> list[Uniqueness]:
    """The uniqueness of several circuits, whose alternatives run in one program."""
    only = dataclasses.replace(subject.evaluation, corruptions=(corruption,))
    order, sizes, masks = scores.order(corruption), [], []
    for circuit in circuits:
        others = order[~circuit[order]]
        sizes.append(sizes_of(len(others)))
        masks += [np.isin(np.arange(len(circuit)), others[:size]) for size in sizes[-1]]
    _, answers = run_circuits(
        dataclasses.replace(subject, evaluation=only),
        scores.graph,
        np.stack(masks)[None],
        scores.measure,
    )
    ends = np.cumsum([len(own) for own in sizes])[:-1]
    gap = scores.gap(corruption)
    return [_best_of(gap, *each) for each in zip(sizes, np.split(answers[0], ends), strict=True)]


def _best_of(
    gap: Gap, sizes: Sequence[int], answers: Float[np.ndarray, "sizes documents"]
) -> Uniqueness:
    """What is left of 1 beside the circuit that restores most."""
    shares = [gap.restored(each) for each in answers]
    best = int(np.argmax(np.nan_to_num([share.value for share in shares], nan=-np.inf)))
    share = shares[best]
    left = np.clip(1 - np.append(share.value, share.samples), 0, 1)
    return Uniqueness(int(sizes[best]), share, Estimate.of_values(left, share.documents))


RANDOM_CIRCUITS = 4
"""Number of random circuits beside one whose uniqueness is asked."""


def uniqueness_rows(
    subject: Subject, scores: EdgeScores, found: Faithfulness
) -> Iterator[dict[str, Any]]:
    """The uniqueness of the smallest faithful circuit, and of random ones of as many edges.

    A random circuit leaves most edges that carry the answer to the others: its uniqueness is near 0
    unless it is nearly all of the graph. Where no circuit is known there are no rows.

    Every ranking has random circuits of its own, since they are as large as its circuit and the
    edges that they lack are taken in its order: their row names it in the column ``method``.
    """
    draw = np.random.default_rng(found.evaluation.seed)
    for corruption in found.evaluation.corruptions:
        smallest = smallest_circuit(found, corruption)
        if smallest is None or smallest.edges == len(scores.graph.edges):
            continue  # without edges that it lacks there is no other one
        best = np.isin(np.arange(smallest.of), scores.order(corruption)[: smallest.edges])
        place = {"measure": found.measure, "corruption": corruption, "points": ""}
        place |= {"edges": smallest.edges, "metric": "uniqueness"}
        circuits = [best, *(draw.permutation(best) for _ in range(RANDOM_CIRCUITS))]
        own, *drawn = (u.uniqueness for u in _uniqueness(subject, scores, circuits, corruption))
        described = describe(own, found.evaluation.confidence, tested=False, within=SHARE)
        yield {"circuit": found.method, "method": "", **place, **described, "draws": 1}
        values = [estimate.value for estimate in drawn]
        beside = describe_draws(values, found.evaluation.confidence)
        beside |= {"documents": own.documents, "p_value": None}
        yield {"circuit": RANDOM, "method": found.method, **place, **beside}


def metric_rows(found: Faithfulness) -> Iterator[dict[str, Any]]:
    """The long table of CPR and CMD, of the best edges and of random ones.

    Both are of circuits of all sizes, and random ones are the same for every ranking: ``edges`` and
    ``method`` are those of `uniqueness_rows` alone.
    """
    confidence = found.evaluation.confidence
    for corruption in found.evaluation.corruptions:
        for points in POINTS:
            best = areas_of(found, corruption, points)
            drawn = [areas_of(found, corruption, points, d) for d in range(found.random.shape[1])]
            place = {"method": "", "measure": found.measure, "corruption": corruption}
            place |= {"points": points, "edges": None}
            for metric in Areas._fields:
                within = RANGES.get(metric)
                own = describe(getattr(best, metric), confidence, tested=False, within=within)
                yield {"circuit": found.method, **place, "metric": metric, **own, "draws": 1}
                if drawn:
                    others = [getattr(each, metric).value for each in drawn]
                    beside = describe_draws(others, confidence) | {"documents": own["documents"]}
                    yield {"circuit": RANDOM, **place, "metric": metric, **beside, "p_value": None}
