"""Circuits: the edges of a model that carry the answer, and the share that the best ones carry.

On the graph of `graph`, restoring the clean value of one edge in the corrupted run
changes the answer y to first order by

    score(s -> r) = (s(o) - s(c)) . d y / d (input of r),

summed over positions: edge attribution patching. The derivative is taken with respect to what
the residual stream gives the reader before its norm, so that it linearises the norm, too.

    eap      derivative in the clean run (Syed, Rager and Conmy 2023)
    eap_ig   mean of derivatives on the line from the corrupted to the clean embedding
             (Hanna, Pezzelle and Belinkov 2024; see `attribution_patching`)

The circuit of size k holds the k edges with the largest |mean score|. In its run these edges
carry the outputs of their senders, and all other edges those of the senders in the corrupted run;
its faithfulness is the share (y(k) - y(c)) / (y(o) - y(c)), a ratio of means over documents. No
edges give 0, all give 1. For comparison there are circuits of k edges drawn at random.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, PyTree
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.config import AnalysesConfig, CircuitsConfig
from mecheval_jax.evaluation.patching.attribution_patching import as_doubles, middles
from mecheval_jax.evaluation.patching.effects import Ends
from mecheval_jax.evaluation.patching.exchange import CLEAN
from mecheval_jax.evaluation.patching.graph import EMBEDDING, Graph, evaluate, graph_of
from mecheval_jax.evaluation.patching.grid import tokens_of_runs
from mecheval_jax.evaluation.question import Question
from mecheval_jax.evaluation.rows import describe
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.tasks.base import Batch

METHODS = ("eap", "eap_ig")
RANDOM = "random"


@dataclasses.dataclass(frozen=True)
class EdgeScores(Ends):
    """Estimated changes of the answer that restoring each edge would make.

    Attributes:
        graph: Graph of the edges.
        changes: [corruption, edge, document].
    """

    graph: Graph
    changes: np.ndarray

    def order(self, corruption: str) -> np.ndarray:
        """Indices of edges, the largest |mean score| first."""
        means = self.changes[self.evaluation.corruptions.index(corruption)].mean(axis=-1)
        return np.argsort(-np.abs(means), kind="stable")


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


def score_edges(
    subject: Subject, method: str = "eap_ig", options: CircuitsConfig = AnalysesConfig.circuits
) -> EdgeScores:
    """Score all edges of a model.

    Args:
        subject: Subject that is measured; corruptions and seed are those of its evaluation.
        method: One of `METHODS`.
        options: Steps of ``eap_ig``, and the measure of the answer.

    Raises:
        UserError: If a corruption or the method does not exist; before any compute.
    """
    choose("method", method, METHODS)
    for corruption in subject.evaluation.corruptions:
        choose("corruption", corruption, subject.task.corruptions)
    times = jnp.asarray((1.0,) if method == "eap" else middles(options.steps))
    evaluation, graph = subject.evaluation, graph_of(subject.config)

    @jax.jit
    def program(params: PyTree, batch: Batch) -> PyTree:
        question = Question(subject.model, params, batch)
        runs, sent = _ends(subject, question, graph, options.measure)

        def scores(corrupted: Array, time: Array) -> Array:
            clean, base = ({name: x[i] for name, x in sent.items()} for i in (CLEAN, corrupted))
            along = (1 - time) * base[EMBEDDING] + time * clean[EMBEDDING]

            def answer(restored: Array) -> Array:
                def receive(edge: int, value: Array) -> Array:
                    sender = graph.edges[edge].sender
                    share = restored[edge].reshape(-1, *(1,) * (value.ndim - 1))
                    return value + share.astype(value.dtype) * (clean[sender] - base[sender])

                embedding = along.astype(base[EMBEDDING].dtype)
                logits = evaluate(question, graph, embedding, receive)
                return question.answers(logits)[options.measure].sum()

            # The derivative by the degree to which each edge of each document is restored.
            return jax.grad(answer)(jnp.zeros((len(graph.edges), len(batch.tokens))))

        def mean_over_line(corrupted: Array) -> Array:
            return jax.lax.map(lambda time: scores(corrupted, time), times).mean(axis=0)

        return runs, jax.lax.map(mean_over_line, 1 + jnp.arange(len(evaluation.corruptions)))

    runs, changes = as_doubles(program(subject.params, subject.batch))
    return EdgeScores(method, options.measure, evaluation, runs, graph, changes)


def _ends(
    subject: Subject, question: Question, graph: Graph, measure: str
) -> tuple[Array, dict[str, Array]]:
    """The measure and the outputs of every node, in the clean and the corrupted runs."""

    def end(tokens: Array) -> tuple[Array, dict[str, Array]]:
        logits, activations = question.observe(tokens)
        sent = {sender: activations[sender] for sender in graph.senders}
        return question.answers(logits)[measure], sent

    return jax.lax.map(end, tokens_of_runs(subject.task, question.batch, subject.evaluation))


def sizes_of(edges: int, most: int = 24) -> tuple[int, ...]:
    """Sizes of circuits for a curve: up to `most` of them, closer together where small."""
    if edges < most:
        return tuple(range(edges + 1))
    return (0, *sorted({round(size) for size in np.geomspace(1, edges, most - 1)}))


def measure_faithfulness(
    subject: Subject,
    scores: EdgeScores,
    options: CircuitsConfig = AnalysesConfig.circuits,
    sizes: Sequence[int] | None = None,
) -> Faithfulness:
    """Run the circuits of the best edges, and of random ones.

    All circuits run in one compiled program, to which sets of edges are masks.

    Args:
        subject: Subject whose edges were scored.
        scores: Scores by which edges are ranked.
        options: Number of random orders of the edges, from seeds `evaluation.seed`, + 1, ...
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
    seeds = evaluation.seed + np.arange(options.draws)
    random = [np.random.default_rng(seed).permutation(edges) for seed in seeds]
    orders = np.stack([[scores.order(name), *random] for name in evaluation.corruptions])
    # An edge is in the circuit of size k if fewer than k stand before it in the order.
    masks = np.argsort(orders, axis=-1)[:, :, None] < np.asarray(sizes)[:, None]

    @jax.jit
    def program(params: PyTree, batch: Batch, masks: Array) -> PyTree:
        question = Question(subject.model, params, batch)
        runs, sent = _ends(subject, question, graph, scores.measure)

        def circuits(item: tuple[Array, Array]) -> Array:
            corrupted, masks = item
            base = {name: values[corrupted] for name, values in sent.items()}

            def circuit(mask: Array) -> Array:
                receive = lambda e, x: jnp.where(mask[e], x, base[graph.edges[e].sender])  # noqa: E731
                logits = evaluate(question, graph, sent[EMBEDDING][CLEAN], receive)
                return question.answers(logits)[scores.measure]

            return jax.lax.map(circuit, masks)

        return runs, jax.lax.map(circuits, (1 + jnp.arange(len(masks)), masks))

    flat = jnp.asarray(masks.reshape(len(masks), -1, edges))
    runs, measured = as_doubles(program(subject.params, subject.batch, flat))
    measured = measured.reshape(*masks.shape[:3], -1)
    ends = (scores.method, scores.measure, evaluation, runs)
    return Faithfulness(*ends, sizes, measured[:, 0], measured[:, 1:])


def edge_rows(scores: EdgeScores) -> Iterator[dict[str, Any]]:
    """The long table of edges: scores as shares of the gap, with the bootstrap over documents."""
    for corruption, changes in zip(scores.evaluation.corruptions, scores.changes, strict=True):
        gap = scores.gap(corruption)
        for edge, change in zip(scores.graph.edges, changes, strict=True):
            yield {
                "method": scores.method,
                "measure": scores.measure,
                "corruption": corruption,
                "sender": edge.sender,
                "reader": edge.reader,
                "metric": "edge_attribution",
                **describe(gap.share(change), scores.evaluation.confidence),
            }


def faithfulness_rows(faithfulness: Faithfulness) -> Iterator[dict[str, Any]]:
    """The long table of circuits: one size a row.

    The interval of the best circuits is the bootstrap's over documents; that of the random ones is
    the central part of the draws, and their value is the mean of these.
    """
    confidence = faithfulness.evaluation.confidence
    ends = ((1 - confidence) / 2, (1 + confidence) / 2)
    for c, corruption in enumerate(faithfulness.evaluation.corruptions):
        gap = faithfulness.gap(corruption)
        for i, size in enumerate(faithfulness.sizes):
            best, *random = (
                gap.share(answers - gap.corrupted)
                for answers in (faithfulness.circuit[c, i], *faithfulness.random[c, :, i])
            )
            drawn = np.array([share.value for share in random])
            place = {"measure": faithfulness.measure, "corruption": corruption, "edges": size}
            place |= {"metric": "faithfulness"}
            first = describe(best, confidence)
            yield {"circuit": faithfulness.method, **place, **first, "draws": 1}
            spread = dict.fromkeys(("value", "low", "high"))
            if not np.isnan(drawn).any():
                found = (drawn.mean(), *np.quantile(drawn, ends))
                spread = dict(zip(spread, map(float, found), strict=True))
            counts = {"documents": len(gap.clean), "draws": len(drawn)}
            yield {"circuit": RANDOM, **place, **spread, **counts}
