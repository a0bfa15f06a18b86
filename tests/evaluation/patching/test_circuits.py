"""Circuits: the edges in a circuit carry what they are told to, and no others."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import CircuitsConfig, EvaluationConfig
from mecheval_jax.evaluation.patching import circuits
from mecheval_jax.evaluation.patching.circuits import measure_faithfulness
from mecheval_jax.evaluation.patching.edge_scores import score_edges
from mecheval_jax.reporting.figures import analyses
from tests.support import planted

EVALUATION = EvaluationConfig(documents=6, corruptions=("key",), resamples=50)


@functools.cache
def example(mixer="attention", **options):
    return planted.lively_subject(mixer, EVALUATION, **options)


@functools.cache
def scored(method, measure="logit"):
    return score_edges(example(), method, CircuitsConfig(steps=3, measure=measure))


def test_a_circuit_is_the_model_written_out_with_its_edges(plain):
    """Catches an edge given to the wrong reader, or a reader that hears a sender twice."""
    scores = scored("eap")
    sizes = (3, 11, 19)
    found = measure_faithfulness(example(), scores, 2, sizes)
    random = [np.random.default_rng(EVALUATION.seed + i).permutation(23) for i in range(2)]
    for order, measured in zip(
        [scores.order("key"), *random], [found.circuit[0], *found.random[0]], strict=True
    ):
        for size, ours in zip(sizes, measured, strict=True):
            inside = {scores.graph.edges[i] for i in order[:size]}
            receive = lambda edge, x, inside=inside: (
                x if edge in inside else plain.corrupted[edge.sender]
            )
            expected, _ = plain.run(plain.clean["embedding"], receive)
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


@functools.cache
def induction():
    config, params, task = planted.induction(0)
    evaluation = EvaluationConfig(documents=32, corruptions=("key",), resamples=50)
    return planted.subject_of((config, params, task), planted.documents(task, 32), evaluation)


def test_the_circuit_of_induction_recovers_and_random_ones_do_not():
    """Catches a curve that does not run from nothing to all, and a baseline that is the circuit."""
    scores = score_edges(induction(), "eap_ig")
    found = measure_faithfulness(induction(), scores, 8, (0, 2, 3, 12))
    table = pd.DataFrame(circuits.faithfulness_rows(found))
    curve = {name: rows.set_index("edges") for name, rows in table.groupby("circuit")}
    np.testing.assert_allclose(curve["eap_ig"]["value"], [0, 0, 1, 1], atol=1e-3)
    random = curve[circuits.RANDOM]
    np.testing.assert_allclose(random["value"][[0, 12]], [0, 1], atol=1e-3)
    assert random["value"][3] < 0.5
    assert (random["draws"] == 8).all()
    assert random["low"][3] <= random["value"][3] <= random["high"][3]
    figure = analyses.faithfulness_curves(table)
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].get_lines()}
    np.testing.assert_allclose(lines["best edges by EAP-IG"], curve["eap_ig"]["value"])
    np.testing.assert_allclose(lines["random edges"], random["value"])


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
        (lambda: measure_faithfulness(example(), scored("eap"), sizes=(24,)), r"has 23"),
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


def faithful(shares):
    """Circuits of 0, 1, ... edges that give these shares of a gap of 0.8."""
    documents = np.ones(30)
    return circuits.Faithfulness(
        method="eap_ig",
        measure="probability",
        evaluation=EvaluationConfig(corruptions=("key",), resamples=50),
        runs=np.stack([0.9 * documents, 0.1 * documents]),
        sizes=tuple(range(len(shares))),
        circuit=np.stack([(0.1 + 0.8 * share) * documents for share in shares])[None],
        random=np.zeros((1, 1, len(shares), 30)),
    )


@pytest.mark.parametrize(
    ("shares", "edges"),
    [
        ([0, 0.2, 0.95, 1.0], 2),
        ([0, 0.95, 0.5, 0.92, 1.0], 3),  # one that a further edge breaks has not sufficed
        ([0, 0.1, 0.2, 0.3], 3),  # none but the whole
        ([0.95, 0.95, 1.0], 0),
    ],
)
def test_the_smallest_faithful_circuit(shares, edges):
    """Catches a size that suffices by chance, and an index in place of a size."""
    found = circuits.smallest_circuit(faithful(shares), "key")
    assert (found.edges, found.of) == (edges, len(shares) - 1)
    assert found.faithfulness == pytest.approx(shares[edges])


def test_without_a_gap_there_is_no_circuit():
    found = faithful([0, 1.0])
    found.runs[1] = found.runs[0]
    assert circuits.smallest_circuit(found, "key") is None
