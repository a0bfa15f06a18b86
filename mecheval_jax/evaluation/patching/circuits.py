"""Circuits: the edges of a model that carry the answer, and the share that the best ones carry.

The circuit of size k holds the k edges of the graph (`graph`) with the largest |mean score|
(`edge_scores`). In its run these edges carry the outputs of their senders, and all other edges
those of the senders in the corrupted run; its faithfulness is the share (y(k) - y(c)) / (y(o) -
y(c)), a ratio of means over documents. No edges give 0, all give 1. For comparison there are
circuits of k edges drawn at random.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Float, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import CircuitsConfig
from mecheval_jax.evaluation.patching.attribution_patching import as_doubles
from mecheval_jax.evaluation.patching.edge_runs import CircuitFlow, run_graph
from mecheval_jax.evaluation.patching.edge_scores import EdgeScores, ends_of
from mecheval_jax.evaluation.patching.effects import Ends
from mecheval_jax.evaluation.patching.exchange import CLEAN
from mecheval_jax.evaluation.patching.graph import EMBEDDING, Graph
from mecheval_jax.evaluation.question import Question
from mecheval_jax.evaluation.rows import describe
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.statistics.intervals import percentile_interval
from mecheval_jax.tasks.base import Batch

RANDOM = "random"

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of all edges at which the Mechanistic Interpretability Benchmark measures circuits."""

FAITHFUL = 0.9
"""Share of the answer that a faithful circuit gives, at least."""

ROUNDING = 1e-9
"""Rounding error by which a share times a number of edges may lie below a whole number."""


@dataclasses.dataclass(frozen=True)
class Faithfulness(Ends):
    """Answers in circuits of several sizes; `method` is the one that ranked the edges.

    Attributes:
        sizes: Numbers of edges.
        circuit: [corruption, size, document] Answers with the best edges alone.
        random: [corruption, draw, size, document] Answers with random edges alone.
    """

    sizes: tuple[int, ...]
    circuit: np.ndarray
    random: np.ndarray


class SmallestCircuit(NamedTuple):
    """The smallest faithful circuit.

    Attributes:
        edges: Number of its edges.
        of: Number of edges of the model.
        faithfulness: Share of the answer that it gives.
    """

    edges: int
    of: int
    faithfulness: float


def size_at(fraction: float, edges: int) -> int:
    """Number of edges of the circuit that has a share of all of them."""
    return int(fraction * edges + ROUNDING)


def sizes_of(edges: int, most: int = 24) -> tuple[int, ...]:
    """Sizes of circuits for a curve: all of them or, with `most` or more, a choice of so many.

    Sizes of the shares `FRACTIONS` are among them.
    """
    if edges < most:
        return tuple(range(edges + 1))
    chosen = {0, *(size_at(fraction, edges) for fraction in FRACTIONS)}
    chosen |= {round(size) for size in np.geomspace(1, edges, most - len(chosen) - 1)}
    return tuple(sorted(chosen))


def measure_faithfulness(
    subject: Subject,
    scores: EdgeScores,
    draws: int = CircuitsConfig.draws,
    sizes: Sequence[int] | None = None,
) -> Faithfulness:
    """Run the circuits of the best edges, and of random ones.

    All circuits run in one compiled program.

    Args:
        subject: Subject whose edges were scored.
        scores: Scores by which edges are ranked.
        draws: Number of random orders of the edges, from seeds `evaluation.seed`, + 1, ...; they do
            not depend on the scores.
        sizes: Numbers of edges; those of `sizes_of` if None.

    Raises:
        UserError: If the graph has fewer edges than a size, or `scores` are of other corruptions.
    """
    evaluation, graph, edges = subject.evaluation, scores.graph, len(scores.graph.edges)
    sizes = sizes_of(edges) if sizes is None else tuple(sizes)
    for size in sizes:
        if not 0 <= size <= edges:
            raise UserError(f"a circuit of {size} edges: the model has {edges}")
    theirs, ours = (", ".join(each.evaluation.corruptions) for each in (scores, subject))
    if theirs != ours:
        raise UserError(f"edges were scored under {theirs}, not under {ours}")
    seeds = evaluation.seed + np.arange(draws)
    random = [np.random.default_rng(seed).permutation(edges) for seed in seeds]
    orders = np.stack([[scores.order(name), *random] for name in evaluation.corruptions])
    # An edge is in the circuit of size k if fewer than k stand before it in the order.
    masks = np.argsort(orders, axis=-1)[:, :, None] < np.asarray(sizes)[:, None]
    flat = masks.reshape(len(masks), -1, edges)
    runs, measured = run_circuits(subject, graph, flat, scores.measure)
    measured = measured.reshape(*masks.shape[:3], -1)
    ends = (scores.method, scores.measure, evaluation, runs)
    return Faithfulness(*ends, sizes, measured[:, 0], measured[:, 1:])


def run_circuits(
    subject: Subject,
    graph: Graph,
    masks: Bool[np.ndarray, "corruptions circuits edges"],
    measure: str,
) -> tuple[
    Float[np.ndarray, "runs documents"], Float[np.ndarray, "corruptions circuits documents"]
]:
    """Answers of the clean and the corrupted runs, and with the edges of circuits alone.

    Args:
        subject: Subject that is measured.
        graph: Graph of its model.
        masks: Whether each edge is in each circuit, for each corruption of the evaluation.
        measure: Measure of the answer, one of `tasks.scoring.MEASURES`.
    """

    @jax.jit
    def program(params: PyTree, batch: Batch, masks: Array) -> PyTree:
        question = Question(subject.model, params, batch)
        runs, sent = ends_of(subject, question, graph, measure)

        def circuits(item: tuple[Array, Array]) -> Array:
            corrupted, masks = item
            base = {name: values[corrupted] for name, values in sent.items()}

            def circuit(mask: Array) -> Array:
                start = {EMBEDDING: sent[EMBEDDING][CLEAN]}
                logits, _ = run_graph(question, graph, CircuitFlow(base, mask), start)
                return question.answers(logits)[measure]

            return jax.lax.map(circuit, masks)

        return runs, jax.lax.map(circuits, (1 + jnp.arange(len(masks)), masks))

    return as_doubles(program(subject.params, subject.batch, jnp.asarray(masks)))


def faithfulness_rows(faithfulness: Faithfulness) -> Iterator[dict[str, Any]]:
    """The long table of circuits: one size a row.

    The interval of the best circuits is the bootstrap's over documents; for the random ones see
    `describe_draws`.
    """
    confidence = faithfulness.evaluation.confidence
    for c, corruption in enumerate(faithfulness.evaluation.corruptions):
        gap = faithfulness.gap(corruption)
        for i, size in enumerate(faithfulness.sizes):
            best, *random = (
                gap.restored(answers)
                for answers in (faithfulness.circuit[c, i], *faithfulness.random[c, :, i])
            )
            place = {"measure": faithfulness.measure, "corruption": corruption, "edges": size}
            place |= {"metric": "faithfulness"}
            first = describe(best, confidence)
            yield {"circuit": faithfulness.method, **place, **first, "draws": 1}
            if random:
                drawn = describe_draws([share.value for share in random], confidence)
                yield {"circuit": RANDOM, **place, **drawn, "documents": len(gap.clean)}


def describe_draws(values: Sequence[float], confidence: float) -> dict[str, Any]:
    """Cells of a row on random circuits: the mean of the draws, and the ends of their central part.

    This part, a share `confidence` of all draws, stands in the columns of an interval.
    """
    drawn = np.asarray(values)
    cells = dict.fromkeys(("value", "low", "high"))
    if not np.isnan(drawn).any():
        low, high = percentile_interval(drawn, confidence)
        cells = {"value": float(drawn.mean()), "low": low, "high": high}
    return {**cells, "draws": len(drawn)}


def smallest_circuit(found: Faithfulness, corruption: str) -> SmallestCircuit | None:
    """The smallest faithful circuit among those that were run.

    Args:
        found: Answers in circuits of rising sizes, the last with all edges.
        corruption: Corruption under which edges do not carry the answer.

    Returns:
        None where the corruption leaves no gap of which a share could be taken.
    """
    c, gap = found.evaluation.corruptions.index(corruption), found.gap(corruption)
    shares = np.array([gap.restored(answers).value for answers in found.circuit[c]])
    if np.isnan(shares).any():
        return None
    faithful = shares >= FAITHFUL
    # The first from which on all circuits are faithful. The last one has all edges, and so it gives
    # the whole answer: at worst it is the one.
    first = len(faithful) - int(np.argmin(faithful[::-1])) if not faithful.all() else 0
    first = min(first, len(faithful) - 1)
    return SmallestCircuit(int(found.sizes[first]), int(found.sizes[-1]), float(shares[first]))
