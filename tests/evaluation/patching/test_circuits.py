"""Circuits: every edge carries what it is told to, and its score is a derivative."""

import dataclasses
import functools

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.special

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import CircuitsConfig, EvaluationConfig
from mecheval_jax.evaluation.patching import circuits
from mecheval_jax.evaluation.patching.circuits import EdgeScores, measure_faithfulness, score_edges
from mecheval_jax.evaluation.patching.exchange import CLEAN
from mecheval_jax.evaluation.patching.graph import Edge, Graph
from mecheval_jax.evaluation.patching.grid import corrupted_tokens
from mecheval_jax.reporting.figures import analyses
from tests.support import planted
from tests.support.references import softmax_attention

DOCUMENTS = 6
TASK = planted.task_with(min_pairs=2)
EVALUATION = EvaluationConfig(documents=DOCUMENTS, corruptions=("key",), resamples=50)


@functools.cache
def example(mixer="attention", **options):
    config, params, _ = planted.lively(mixer, **options)
    batch = planted.documents(TASK, DOCUMENTS, 1)
    return planted.subject_of((config, params, TASK), batch, EVALUATION)


@functools.cache
def scored(method, measure="logit"):
    return score_edges(example(), method, CircuitsConfig(steps=3, measure=measure))


class Plain:
    """A Transformer of one head written out, whose every edge goes through `receive`."""

    def __init__(self):
        subject = example()
        self.config, params, self.batch = subject.config, subject.params, subject.batch
        self.params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
        corrupt = jax.jit(lambda batch: corrupted_tokens(TASK, batch, ("key",), EVALUATION.seed))
        tokens = [self.batch.tokens, *corrupt(self.batch)]
        tokens = [np.asarray(t)[:, : TASK.read_length] for t in tokens]
        place = self.params["position_embedding"]["embedding"][: TASK.read_length]
        words = self.params["token_embedding"]["embedding"]
        self.clean, self.corrupted = (
            self.run(words[t] + place, lambda s, r, x: x)[1] for t in tokens
        )

    def norm(self, x, p):
        x = x - x.mean(axis=-1, keepdims=True)
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]

    def mixer(self, x, p):
        q, k, v = (x @ p[f"{name}_proj"]["kernel"] for name in "qkv")
        o = softmax_attention(*(h[:, :, None] for h in (q, k, v)))[:, :, 0]
        return o @ p["out_proj"]["kernel"] + p["out_proj"]["bias"]

    def mlp(self, x, p):
        h = x @ p["fc1"]["kernel"] + p["fc1"]["bias"]
        return h * scipy.special.ndtr(h) @ p["fc2"]["kernel"] + p["fc2"]["bias"]

    def run(self, embedding, receive):
        """The answer's centred logit, and what every node sends."""
        sent = {"embedding": embedding}
        read = lambda node: sum(receive(s, node, x) for s, x in sent.items())
        for layer in range(2):
            p = self.params[f"block_{layer}"]
            for part in ("mixer", "mlp"):
                node = f"block_{layer}/{part}_output"
                x = self.norm(read(node), p[f"{part}_norm"])
                sent[node] = getattr(self, part)(x, p[part])
        x = self.norm(read("logits"), self.params["output_norm"])
        x = x[np.arange(DOCUMENTS), self.batch.query_positions[:, 0]]
        logits = x @ self.params["token_embedding"]["embedding"].T
        answer = logits[np.arange(DOCUMENTS), self.batch.targets[:, 0]]
        return answer - logits.mean(axis=-1), sent


@pytest.fixture(scope="module")
def plain():
    return Plain()


def test_a_circuit_is_the_model_written_out_with_its_edges(plain):
    """Catches an edge given to the wrong reader, or a reader that hears a sender twice."""
    scores = scored("eap")
    sizes = (3, 7, 11)
    found = measure_faithfulness(example(), scores, CircuitsConfig(draws=2), sizes)
    random = [np.random.default_rng(EVALUATION.seed + i).permutation(15) for i in range(2)]
    for order, measured in zip(
        [scores.order("key"), *random], [found.circuit[0], *found.random[0]], strict=True
    ):
        for size, ours in zip(sizes, measured, strict=True):
            inside = {scores.graph.edges[i] for i in order[:size]}
            receive = lambda s, r, x, inside=inside: (
                x if Edge(s, r) in inside else plain.corrupted[s]
            )
            expected, _ = plain.run(plain.clean["embedding"], receive)
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("method", "times"), [("eap", [1.0]), ("eap_ig", [1 / 6, 1 / 2, 5 / 6])])
def test_an_edges_score_is_a_derivative(plain, method, times):
    """Catches a gradient at the wrong run, a sign, and a score of another edge."""
    scores, step = scored(method), 1e-5
    for i, edge in enumerate(scores.graph.edges):
        difference = plain.clean[edge.sender] - plain.corrupted[edge.sender]

        def slope(time, edge=edge, difference=difference):
            ends = plain.corrupted["embedding"], plain.clean["embedding"]
            along = (1 - time) * ends[0] + time * ends[1]

            def moved(by):
                return plain.run(
                    along, lambda s, r, x: x + by * difference if Edge(s, r) == edge else x
                )[0]

            return (moved(step) - moved(-step)) / (2 * step)

        expected = np.mean([slope(time) for time in times], axis=0)
        np.testing.assert_allclose(scores.changes[0, i], expected, rtol=2e-3, atol=2e-3)


@functools.cache
def induction():
    config, params, task = planted.induction(0)
    evaluation = EvaluationConfig(documents=32, corruptions=("key",), resamples=50)
    return planted.subject_of((config, params, task), planted.documents(task, 32), evaluation)


THE_PATH = (
    Edge("embedding", "block_0/mixer_output"),
    Edge("block_0/mixer_output", "block_1/mixer_output"),
    Edge("block_1/mixer_output", "logits"),
)


@functools.cache
def induction_edges(method):
    return score_edges(induction(), method)


@pytest.mark.parametrize("method", circuits.METHODS)
def test_the_edges_of_induction_come_first(method):
    """Catches scores that do not find the mechanism that was planted."""
    scores = induction_edges(method)
    assert {scores.graph.edges[i] for i in scores.order("key")[:3]} == set(THE_PATH)


def test_the_circuit_of_induction_recovers_and_random_ones_do_not():
    """Catches a curve that does not run from nothing to all, and a baseline that is the circuit."""
    scores = induction_edges("eap_ig")
    found = measure_faithfulness(induction(), scores, CircuitsConfig(draws=8), (0, 2, 3, 6))
    table = pd.DataFrame(circuits.faithfulness_rows(found))
    curve = {name: rows.set_index("edges") for name, rows in table.groupby("circuit")}
    np.testing.assert_allclose(curve["eap_ig"]["value"], [0, 0, 1, 1], atol=1e-3)
    random = curve[circuits.RANDOM]
    np.testing.assert_allclose(random["value"][[0, 6]], [0, 1], atol=1e-3)
    assert random["value"][3] < 0.5
    assert (random["draws"] == 8).all()
    assert random["low"][3] <= random["value"][3] <= random["high"][3]
    figure = analyses.faithfulness_curves(table)
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].get_lines()}
    np.testing.assert_allclose(lines["best edges by EAP-IG"], curve["eap_ig"]["value"])
    np.testing.assert_allclose(lines["random edges"], random["value"])


def test_rows_are_shares_of_the_gap():
    """Catches a mean of ratios, a row under another edge's name, and a gap too small to divide."""
    graph = Graph(("embedding", "logits"), (Edge("embedding", "logits"),))
    runs = np.array([[0.9, 0.5], [0.1, 0.1], [0.9, 0.5]])
    changes = np.array([[[0.3, 0.0]], [[0.3, 0.0]]])
    evaluation = EvaluationConfig(documents=2, resamples=50)
    scores = EdgeScores("eap", "probability", evaluation, runs, graph, changes)
    of_key, of_value = circuits.edge_rows(scores)
    assert of_key["sender"] == "embedding"
    assert of_key["reader"] == "logits"
    assert of_key["value"] == pytest.approx(0.3 / 1.2)
    assert (of_key["low"], of_key["high"]) == (0.0, pytest.approx(0.375))
    assert of_value["value"] is None
    assert of_value["documents"] == 2


@pytest.mark.parametrize("edges", [0, 1, 15, 23, 24, 300])
def test_sizes_run_from_none_to_all(edges):
    """Catches a curve that stops short of the whole model, or has a point twice."""
    sizes = circuits.sizes_of(edges)
    assert sizes[0] == 0
    assert sizes[-1] == edges
    assert list(sizes) == sorted(set(sizes))
    assert len(sizes) <= 24


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: score_edges(example(), "epa"), r"did you mean 'eap'"),
        (lambda: CircuitsConfig(measure="loss"), r"unknown analyses.circuits.measure 'loss'"),
        (lambda: CircuitsConfig(steps=0), r"analyses.circuits.steps is 0"),
        (lambda: measure_faithfulness(example(), scored("eap"), sizes=(16,)), r"has 15"),
        (lambda: CircuitsConfig(draws=0), r"analyses.circuits.draws is 0"),
        (
            lambda: measure_faithfulness(
                dataclasses.replace(example(), evaluation=EvaluationConfig()),
                scored("eap"),
            ),
            r"scored under key, not under key, value",
        ),
    ],
)
def test_mistakes_are_named(ask, message):
    """Catches a request that is silently something else."""
    with pytest.raises(UserError, match=message):
        ask()


def test_base_and_clean_are_the_models_own(plain):
    """Catches circuits that start from another run than the corrupted one."""
    scores = scored("eap")
    answers = [
        plain.run(sent["embedding"], lambda s, r, x: x)[0]
        for sent in (plain.clean, plain.corrupted)
    ]
    np.testing.assert_allclose(scores.runs[CLEAN], answers[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scores.runs[1], answers[1], rtol=1e-4, atol=1e-4)
