"""Effects of edges on the answer: one definition, measured exactly or estimated by gradients.

The effect of an edge is the change of the answer y when the edge alone is restored in the corrupted
run, at all positions. With t the degree to which every edge is restored (`edge_runs.RestoredFlow`),
it is y(e) - y(0), and the methods differ in what they put for it:

    exact               y(e) - y(0), a run for every edge
    eap                 the derivative by t(e) in the clean run (Syed, Rager and Conmy 2023)
    eap_ig              mean of the derivatives in runs on the line from the corrupted to the clean
                        embedding (EAP-IG over inputs; Hanna, Pezzelle and Belinkov 2024): the
                        scores of all edges of the embedding add up to the effect of all inputs
    eap_ig_activations  mean of the derivatives in corrupted runs in which all edges of the same
                        sender are restored by degrees: its scores add up to its total effect
    atp_star            as eap, but queries and keys of a softmax are restored exactly up to its
                        pattern, whose derivative is taken, since a saturated softmax has none; and
                        the absolute scores are averaged over runs in which the gradient through
                        one layer is dropped, so that paths that cancel are seen (AtP* with
                        GradDrop; Kramar et al. 2024). These scores have no sign.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float, PyTree
from mecheval_jax.errors import choose
from mecheval_jax.evaluation.config import AnalysesConfig, CircuitsConfig, EvaluationConfig
from mecheval_jax.evaluation.patching.attribution_patching import as_doubles, middles
from mecheval_jax.evaluation.patching.edge_runs import (
    Flow,
    RestoredFlow,
    Sent,
    run_graph,
    stage_outputs,
)
from mecheval_jax.evaluation.patching.effects import EXACT, Ends
from mecheval_jax.evaluation.patching.exchange import CLEAN
from mecheval_jax.evaluation.patching.graph import EMBEDDING, Graph, graph_of
from mecheval_jax.evaluation.patching.grid import tokens_of_runs
from mecheval_jax.evaluation.question import Question
from mecheval_jax.evaluation.rows import SIZE, describe
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.tasks.base import Batch, Task


@dataclasses.dataclass(frozen=True)
class EdgeScores(Ends):
    """Changes of the answer that restoring each edge makes, or would make by an estimate.

    Attributes:
        graph: Graph of the edges.
        changes: [corruption, edge, document].
    """

    graph: Graph
    changes: np.ndarray

    def order(self, corruption: str) -> np.ndarray:
        """Indices of edges, the largest |mean change| first."""
        return np.argsort(-self.sizes(corruption), kind="stable")

    def sizes(self, corruption: str) -> np.ndarray:
        """|Mean change| of every edge, by which edges are ranked."""
        means = self.changes[self.evaluation.corruptions.index(corruption)].mean(axis=-1)
        return np.abs(means)


def score_edges(
    subject: Subject, method: str = "eap_ig", options: CircuitsConfig = AnalysesConfig.circuits
) -> EdgeScores:
    """Score all edges of a model.

    Args:
        subject: Subject that is measured; corruptions and seed are those of its evaluation.
        method: One of `METHODS`.
        options: Ports, steps of the integrated methods, and the measure of the answer.

    Raises:
        UserError: If a corruption, a port or the method does not exist; before any compute.
    """
    choose("method", method, METHODS)
    for corruption in subject.evaluation.corruptions:
        choose("corruption", corruption, subject.task.corruptions)
    graph = graph_of(subject.config, options.ports)
    asked = _Asked(subject.config, subject.task, subject.evaluation, method, options)
    runs, changes = as_doubles(_measured(asked, subject.params, subject.batch))
    return EdgeScores(method, options.measure, subject.evaluation, runs, graph, changes)


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What one program measures, on all models of a shape and all their documents."""

    config: ModelConfig
    task: Task
    evaluation: EvaluationConfig
    method: str
    options: CircuitsConfig


@functools.partial(jax.jit, static_argnums=0)
def _measured(
    asked: _Asked, params: PyTree, batch: Batch
) -> tuple[Array, Float[Array, "corruptions edges documents"]]:
    """The measure in every run, and the effects of all edges."""
    model, options = LanguageModel(asked.config), asked.options
    subject = Subject(model, params, asked.task, batch, asked.evaluation)
    question = Question(model, params, batch)
    graph = graph_of(asked.config, options.ports)
    runs, sent = ends_of(subject, question, graph, options.measure)

    def one(corrupted: Array) -> Array:
        clean, base = ({name: x[i] for name, x in sent.items()} for i in (CLEAN, corrupted))
        return METHODS[asked.method](_Line(question, graph, options, clean, base))

    return runs, jax.lax.map(one, 1 + jnp.arange(len(asked.evaluation.corruptions)))


def ends_of(subject: Subject, question: Question, graph: Graph, measure: str) -> tuple[Array, Sent]:
    """The measure and the outputs of every node, in the clean and the corrupted runs."""

    def end(tokens: Array) -> tuple[Array, Sent]:
        embedding = question.observe(tokens)[1][EMBEDDING]
        logits, sent = run_graph(question, graph, Flow(), {EMBEDDING: embedding})
        return question.answers(logits)[measure], sent

    return jax.lax.map(end, tokens_of_runs(subject.task, question.batch, subject.evaluation))


@dataclasses.dataclass(frozen=True, eq=False)
class _Line:
    """All that a method needs: the two ends of the line from a corrupted to the clean run."""

    question: Question
    graph: Graph
    options: CircuitsConfig
    clean: Sent
    corrupted: Sent

    @property
    def layers(self) -> int:
        return self.question.model.config.layers

    @property
    def no_degrees(self) -> Float[Array, "edges documents"]:
        return jnp.zeros((len(self.graph.edges), len(self.question.batch.tokens)))

    def flow(self, degrees: Array, passing: Array | None = None) -> RestoredFlow:
        return RestoredFlow(self.clean, self.corrupted, degrees, passing)

    def answer(self, flow: RestoredFlow, sent: Sent, first: int = 0) -> Float[Array, " documents"]:
        """The measure of the answer in a run of which some nodes are already known."""
        logits, _ = run_graph(self.question, self.graph, flow, sent, first)
        return self.question.answers(logits)[self.options.measure]

    def slopes(self, degrees: Array, embedding: Array) -> Array:
        """Derivative of each document's answer by the degree of every edge."""

        def total(degrees: Array) -> Array:
            sent = {EMBEDDING: embedding.astype(self.clean[EMBEDDING].dtype)}
            return self.answer(self.flow(degrees), sent).sum()

        return jax.grad(total)(degrees)


def _exact(line: _Line) -> Array:
    edges, base = len(line.graph.edges), line.answer(line.flow(line.no_degrees), line.corrupted)
    found = []
    # Nodes before the edge's reader are those of the corrupted run: only later ones are run.
    for stage, ports in enumerate(line.graph.numbers):

        def one(edge: Array, stage: int = stage) -> Array:
            here = (jnp.arange(edges) == edge).astype(jnp.float32)
            degrees = jnp.broadcast_to(here[:, None], line.no_degrees.shape)
            return line.answer(line.flow(degrees), line.corrupted, stage) - base

        here = np.concatenate([numbers.ravel() for numbers in ports.values()])
        found.append(jax.lax.map(one, jnp.asarray(here)))
    return jnp.concatenate(found)


def _eap(line: _Line) -> Array:
    return line.slopes(line.no_degrees, line.clean[EMBEDDING])


def _eap_ig(line: _Line) -> Array:
    def at(time: Array) -> Array:
        along = (1 - time) * line.corrupted[EMBEDDING] + time * line.clean[EMBEDDING]
        return line.slopes(line.no_degrees, along)

    return jax.lax.map(at, jnp.asarray(middles(line.options.steps))).mean(axis=0)


def _eap_ig_activations(line: _Line) -> Array:
    senders = [line.graph.senders.index(edge.sender) for edge in line.graph.edges]
    senders = jnp.asarray(senders)[:, None]

    def of(sender: Array) -> Array:
        own = (senders == sender).astype(jnp.float32)

        def at(time: Array) -> Array:
            return line.slopes(line.no_degrees + time * own, line.corrupted[EMBEDDING])

        return own * jax.lax.map(at, jnp.asarray(middles(line.options.steps))).mean(axis=0)

    return jax.lax.map(of, jnp.arange(len(line.graph.senders))).sum(axis=0)


def _atp_star(line: _Line) -> Array:
    changes = _changes_of_patterns(line)

    def dropped(passing: Array) -> Array:
        """Scores, if the gradient passes through the layers as told."""
        tilts = {number: jnp.zeros_like(patterns) for number, (patterns, _) in changes.items()}

        def total(leaves: tuple[Array, dict[int, Array]]) -> Array:
            degrees, tilts = leaves
            flow = line.flow(degrees, passing)
            sent = {EMBEDDING: line.clean[EMBEDDING]}
            logits, _ = run_graph(line.question, line.graph, flow, sent, tilts=tilts)
            return line.question.answers(logits)[line.options.measure].sum()

        slopes, by_pattern = jax.grad(total)((line.no_degrees, tilts))
        for number, (_, moved) in changes.items():
            for edges, change in moved:
                exact = jnp.einsum("rdts,nrdts->nrd", by_pattern[number], change)
                slopes = slopes.at[edges.T].set(exact)
        return slopes

    everything = jnp.ones(line.layers)
    if line.layers == 1:
        return jnp.abs(dropped(everything))
    without = everything[None] - jnp.eye(line.layers)
    return jnp.abs(jax.lax.map(dropped, without)).sum(axis=0) / (line.layers - 1)


def _changes_of_patterns(line: _Line) -> dict[int, tuple[Array, list[tuple[np.ndarray, Array]]]]:
    """Exact changes of patterns of attention in the clean run, by the stage of the heads.

    Returns:
        For every stage of heads of attention: their patterns [head, document, query, source]; and
        the edges [head, sender] into their queries and into their keys, with the changes
        [sender, head, document, query, source] that these edges make from the corrupted to the
        clean run.
    """
    found = {}
    for number, ports in enumerate(line.graph.numbers[:-1]):

        def patterns(degrees: Array, number: int = number) -> Array | None:
            flow = line.flow(degrees)
            return stage_outputs(line.question, line.graph, number, flow, line.clean)[1]

        clean = patterns(line.no_degrees)
        if clean is None:
            continue
        moved = []
        for port in ("q", "k"):
            if port in ports:

                def without(edges: Array, clean: Array = clean, patterns: Any = patterns) -> Array:
                    # One sender to all heads at once, which do not know each other.
                    return clean - patterns(line.no_degrees.at[edges].set(-1.0))

                moved.append((ports[port], jax.lax.map(without, jnp.asarray(ports[port].T))))
        found[number] = (clean, moved)
    return found


METHODS: dict[str, Callable[[_Line], Array]] = {
    EXACT: _exact,
    "eap": _eap,
    "eap_ig": _eap_ig,
    "eap_ig_activations": _eap_ig_activations,
    "atp_star": _atp_star,
}
"""Effects [edge, document] on the line between two runs, by the name of the method."""

UNSIGNED = ("atp_star",)
"""Methods that give sizes of effects."""


def edge_rows(scores: EdgeScores) -> Iterator[dict[str, Any]]:
    """The long table of edges: scores as shares of the gap, with the bootstrap over documents.

    Scores without a sign are not tested: a mean of sizes is above 0 whatever the edge does.
    """
    tested = scores.method not in UNSIGNED
    for corruption, changes in zip(scores.evaluation.corruptions, scores.changes, strict=True):
        gap = scores.gap(corruption)
        named = {"method": scores.method, "measure": scores.measure, "corruption": corruption}
        for edge, change in zip(scores.graph.edges, changes, strict=True):
            share, within = gap.share(change), None if tested else SIZE
            found = describe(share, scores.evaluation.confidence, tested, within)
            yield {**named, **vars(edge), "metric": "edge_attribution", **found}
