"""Circuits: which edges of a model carry the answer, and how much the best of them carry.

On the graph of `residual_graph`, restoring the clean value of one edge in the corrupted run
changes the answer y to first order by

    score(s -> r) = (s(o) - s(c)) . d y / d (input of r),

summed over positions: edge attribution patching. The derivative with respect to what a
reader is given from the residual stream stands before its norm, and so linearises it too.

    eap      derivative in the clean run (Syed, Rager and Conmy 2023)
    eap_ig   mean of derivatives on the line from the corrupted to the clean embedding
             (Hanna, Pezzelle and Belinkov 2024; see `gradients`)

The circuit of size k holds the k edges with the largest |mean score|. It is run with these
edges carrying what their senders compute, and all others what the sender has in the corrupted
run; its faithfulness is the share (y(k) - y(c)) / (y(o) - y(c)), a ratio of means over
documents. No edges give 0, all give 1. Beside it stand circuits of k edges drawn at random.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import PyTree
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.attribution_patching import check_request, middles
from mecheval_jax.evaluation.patching.effects import Gap
from mecheval_jax.evaluation.patching.graph import EMBEDDING, Graph, evaluate, graph_of
from mecheval_jax.evaluation.patching.grid import CLEAN, corrupted_tokens
from mecheval_jax.evaluation.rows import describe
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.capture import observe
from mecheval_jax.statistics.bootstrap import Bootstrap
from mecheval_jax.tasks.scoring import score

METHODS = ("eap", "eap_ig")
RANDOM = "random"


@dataclasses.dataclass(frozen=True)
class EdgeScores:
    """Estimated changes of the answer when an edge is restored.

    Attributes:
        method: of `METHODS`.
        measure: of the answer, ``probability`` or ``logit``.
        graph: Graph of the edges.
        evaluation: Its corruptions are an axis.
        runs: [1 + corruption, document], the measure in the clean and the corrupted runs.
        changes: [corruption, edge, document].
    """

    method: str
    measure: str
    graph: Graph
    evaluation: EvaluationConfig
    runs: np.ndarray
    changes: np.ndarray

    def order(self, corruption: str) -> np.ndarray:
        """Indices of edges, the largest |mean score| first."""
        means = self.changes[self.evaluation.corruptions.index(corruption)].mean(axis=-1)
        return np.argsort(-np.abs(means), kind="stable")


@dataclasses.dataclass(frozen=True)
class Faithfulness:
    """The answer in circuits of some sizes.

    Attributes:
        method: by which the edges were ranked.
        measure: of the answer.
        sizes: Numbers of edges.
        evaluation: Its corruptions are an axis.
        runs: as in `EdgeScores`.
        circuit: [corruption, size, document], of the best edges.
        random: [corruption, draw, size, document], of random ones.
    """

    method: str
    measure: str
    sizes: tuple[int, ...]
    evaluation: EvaluationConfig
    runs: np.ndarray
    circuit: np.ndarray
    random: np.ndarray


def score_edges(
    subject: Subject, *, method: str = "eap_ig", steps: int = 8, measure: str = "probability"
) -> EdgeScores:
    """Score all edges of a model.

    Args:
        subject: What is measured; of its evaluation corruptions and seed count.
        method: One of `METHODS`.
        steps: Parts of the line of ``eap_ig``.
        measure: Measure of the answer, ``probability`` or ``logit``.

    Raises:
        UserError: An unknown corruption, method or measure, before any compute.
    """
    choose("method", method, METHODS)
    check_request(subject, steps, measure)
    times = (1.0,) if method == "eap" else middles(steps)
    module, evaluation, graph = subject.model, subject.evaluation, graph_of(subject.config)

    @jax.jit
    def program(params, batch):
        runs, sent = _ends(subject, params, batch, graph, measure)

        def scores(corrupted, time):
            clean, base = ({name: x[i] for name, x in sent.items()} for i in (CLEAN, corrupted))
            along = ((1 - time) * base[EMBEDDING] + time * clean[EMBEDDING]).astype(
                base[EMBEDDING].dtype
            )

            def answer(restored):
                def receive(edge, value):
                    sender = graph.edges[edge].sender
                    share = restored[edge].reshape(-1, *(1,) * (value.ndim - 1))
                    return value + share.astype(value.dtype) * (clean[sender] - base[sender])

                query = batch.query_positions[:, :1]
                logits = evaluate(module, params, graph, along, query, receive)
                return getattr(score(logits, batch), measure).sum()

            # How far each edge of each document is restored: its derivative is the score.
            return jax.grad(answer)(jnp.zeros((len(graph.edges), len(batch.tokens))))

        def mean_over_line(corrupted):
            return jax.lax.map(lambda time: scores(corrupted, time), jnp.asarray(times)).mean(
                axis=0
            )

        return runs, jax.lax.map(mean_over_line, 1 + jnp.arange(len(evaluation.corruptions)))

    runs, changes = _doubles(program(subject.params, subject.batch))
    return EdgeScores(method, measure, graph, evaluation, runs, changes)


def _ends(subject, params, batch, graph, measure):
    """The measure and what every node sends, in the clean and the corrupted runs."""
    module, task, evaluation = subject.model, subject.task, subject.evaluation
    corrupted = corrupted_tokens(task, batch, evaluation.corruptions, evaluation.seed)
    tokens = jnp.stack([batch.tokens, *corrupted])[:, :, : task.read_length]

    def end(tokens):
        query = batch.query_positions[:, :1]
        logits, activations = observe(module, params, tokens, positions=query, skip_unread=True)
        sent = {sender: activations[sender] for sender in graph.senders}
        return getattr(score(logits, batch), measure)[:, 0], sent

    return jax.lax.map(end, tokens)


def _doubles(found: PyTree) -> PyTree:
    """Arrays of the host, in the precision of statistics."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), jax.device_get(found))


def sizes_of(edges: int, most: int = 24) -> tuple[int, ...]:
    """Sizes of circuits for a curve: all up to `most` points, closer together where small."""
    if edges < most:
        return tuple(range(edges + 1))
    return (0, *sorted({round(size) for size in np.geomspace(1, edges, most - 1)}))


def measure_faithfulness(
    subject: Subject, scores: EdgeScores, sizes: Sequence[int] | None = None, draws: int = 10
) -> Faithfulness:
    """Run the circuits of the best edges, and of random ones.

    All circuits are one compiled program, which is given the sets of edges as masks.

    Args:
        subject: The subject that `scores` rest on.
        scores: Scores by which edges are ranked.
        sizes: Numbers of edges; those of `sizes_of` if None.
        draws: Random orders of the edges, from seeds `evaluation.seed`, + 1, ...

    Raises:
        UserError: A size that the graph does not have, or other corruptions than those of `scores`.
    """
    evaluation = subject.evaluation
    graph, edges = scores.graph, len(scores.graph.edges)
    sizes = sizes_of(edges) if sizes is None else tuple(sizes)
    for size in sizes:
        if not 0 <= size <= edges:
            raise UserError(f"a circuit of {size} edges: the model has {edges}")
    if draws < 1:
        raise UserError(f"draws is {draws}: it must be at least 1")
    theirs, ours = (", ".join(each.evaluation.corruptions) for each in (scores, subject))
    if theirs != ours:
        raise UserError(f"edges were scored under {theirs}, not under {ours}")
    random = [
        np.random.default_rng(evaluation.seed + draw).permutation(edges) for draw in range(draws)
    ]
    orders = np.stack(
        [[scores.order(corruption), *random] for corruption in evaluation.corruptions]
    )
    # An edge is in the circuit of size k if fewer than k stand before it in the order.
    ranks = np.argsort(orders, axis=-1)
    masks = ranks[:, :, None] < np.asarray(sizes)[:, None]
    module = subject.model

    @jax.jit
    def program(params, batch, masks):
        runs, sent = _ends(subject, params, batch, graph, scores.measure)
        query = batch.query_positions[:, :1]

        def circuits(item):
            corrupted, masks = item
            base = {name: values[corrupted] for name, values in sent.items()}

            def circuit(mask):
                receive = lambda e, x: jnp.where(mask[e], x, base[graph.edges[e].sender])  # noqa: E731
                logits = evaluate(module, params, graph, sent[EMBEDDING][CLEAN], query, receive)
                return getattr(score(logits, batch), scores.measure)[:, 0]

            return jax.lax.map(circuit, masks)

        return runs, jax.lax.map(circuits, (1 + jnp.arange(len(masks)), masks))

    flat = jnp.asarray(masks.reshape(len(masks), -1, edges))
    runs, measured = _doubles(program(subject.params, subject.batch, flat))
    measured = measured.reshape(*masks.shape[:3], -1)
    return Faithfulness(
        scores.method, scores.measure, sizes, evaluation, runs, measured[:, 0], measured[:, 1:]
    )


def edge_rows(scores: EdgeScores) -> Iterator[dict[str, Any]]:
    """The long table of edges: scores as shares of the gap, with the bootstrap over documents."""
    for c, (corruption, gap) in enumerate(_gaps(scores)):
        for edge, change in zip(scores.graph.edges, scores.changes[c], strict=True):
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

    The interval of the best edges' circuit is the bootstrap's over documents, that of the random
    ones holds the middle of the draws, whose mean is the value.
    """
    confidence = faithfulness.evaluation.confidence
    for c, (corruption, gap) in enumerate(_gaps(faithfulness)):
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
            known = not np.isnan(drawn).any()
            ends = ((1 - confidence) / 2, (1 + confidence) / 2)
            low, high = map(float, np.quantile(drawn, ends)) if known else (None, None)
            yield {
                "circuit": RANDOM,
                **place,
                "value": float(drawn.mean()) if known else None,
                "low": low,
                "high": high,
                "documents": len(gap.clean),
                "draws": len(drawn),
            }


def _gaps(found: EdgeScores | Faithfulness) -> Iterator[tuple[str, Gap]]:
    """The gap of each corruption; all share one set of resampled documents."""
    evaluation, runs = found.evaluation, found.runs
    bootstrap = Bootstrap([runs.shape[1]], evaluation.resamples, evaluation.seed)
    for c, corruption in enumerate(evaluation.corruptions):
        yield corruption, Gap(runs[CLEAN], runs[1 + c], bootstrap)
