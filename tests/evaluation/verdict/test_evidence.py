"""Evidence: what is kept of a run for pooling."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.verdict.evidence import ARRAYS, Evidence
from mecheval_jax.evaluation.verdict.measurement import measure_verdict
from mecheval_jax.evaluation.verdict.verdict import judge
from tests.support import planted
from tests.support.fabricated import DIRECT, EVALUATION, INDUCED, evidence_on, verdict_on


def test_few_documents_give_no_verdict():
    """Catches a verdict on 19 documents that all agree by chance."""
    for count, name in ((19, "undecided"), (20, "induction")):
        ends = {"clean": np.full(count, 0.9), "corrupted": np.full(count, 0.1)}
        verdict = verdict_on(INDUCED, correct=1.0, **ends)
        assert verdict.verdict == name
        assert verdict.probabilities[name] == 1
        assert ("19 documents" in verdict.reason) == (count == 19)


def test_no_document_with_a_pair_apart_from_the_question():
    """Catches a traceback, or a mechanism, where convolutions see every pair from the question."""
    batch = planted.documents(planted.TASK, 200)
    value = batch.roles["value"][:, 0]
    near = jnp.flatnonzero(value == value.max())[:24]  # the last pair: two tokens before
    batch = jax.tree.map(lambda rows: rows[near], batch)
    found = measure_verdict(planted.subject_of(planted.lively("mamba"), batch), ())
    assert found.evidence.documents.tolist() == [0]
    assert found.verdict.evidence["gap"] is None
    assert found.verdict.verdict in ("not_learned", "undecided")
    known = dataclasses.replace(found.evidence, correct=found.evidence.asked, floor=0.1)
    verdict = judge(known, EVALUATION)
    assert verdict.verdict == "undecided"
    assert verdict.reason.startswith("0 documents have a pair to look for")


def test_documents_without_a_pair_are_counted_and_left_out():
    """Catches documents whose answer is the asked token itself, in which nothing can be bound."""
    model = planted.direct_retrieval(1)
    batch = planted.documents(planted.TASK, 64, 1)
    same = batch.roles["value"].at[:24].set(batch.roles["key"][:24])
    evidence = planted.evidence_of(model, batch.replace(roles=batch.roles | {"value": same}))
    assert (evidence.documents.tolist(), evidence.left_out.tolist()) == ([40], [24])
    assert evidence.ends.shape == (2, 2, 40)
    assert evidence.asked.tolist() == [64]  # the accuracy is that of all
    verdict = judge(evidence, EVALUATION)
    assert (verdict.evidence["documents"], verdict.evidence["left_out"]) == (40, 24)


def test_evidence_survives_its_file(tmp_path):
    """Catches a pooled verdict that rests on other numbers than the runs' own."""
    path = tmp_path / "evidence.npz"
    evidence = evidence_on(DIRECT, local=(1,))
    evidence.write(path)
    assert judge(Evidence.read(path), EVALUATION) == judge(evidence, EVALUATION)
    path.write_bytes(b"PK")
    with pytest.raises(UserError, match="damaged"):
        Evidence.read(path)
    with pytest.raises(UserError, match=r"launch\.intervene --workdir=.* measures anew"):
        Evidence.read(tmp_path / "nothing.npz")


def test_a_single_token_with_the_name_of_the_set(tmp_path):
    """Catches a verdict on the pair's later token alone from a file that calls it ``pair``, too."""
    path = tmp_path / "evidence.npz"
    evidence = evidence_on(INDUCED | {(1, "value"): 0.0}, local=(1,))
    alike = tuple(c._replace(role="pair") if c.role == "value" else c for c in evidence.cells)
    dataclasses.replace(evidence, cells=alike).write(path)
    read = Evidence.read(path)
    changed = [(a.role, b.role) for a, b in zip(evidence.cells, read.cells, strict=True) if a != b]
    assert changed == [("value", "pair+0")] * 2  # at the cut, and in the layer
    assert judge(dataclasses.replace(read, cells=alike), EVALUATION).verdict != "induction"
    assert judge(read, EVALUATION).verdict == "induction"


def test_evidence_of_an_earlier_version_is_refused(tmp_path):
    """Catches numbers at fewer positions judged by the present rule."""
    np.savez(tmp_path / "evidence.npz", sites=np.array(["block_1/block_input"]), clean=np.ones(3))
    with pytest.raises(UserError, match=r"of version 0\.4 .*--workdir=.* measures anew"):
        Evidence.read(tmp_path / "evidence.npz")


PAIR = ("stream", "pair")


def test_different_architectures_are_not_pooled():
    """Catches an average over places that are not the same."""
    with pytest.raises(UserError, match="cannot be pooled"):
        Evidence.pool([evidence_on(DIRECT), evidence_on(DIRECT, local=(0,))])


def test_runs_on_the_same_documents_are_crossed():
    """Catches documents of a grid counted once for every run that shares them."""
    draw = np.random.default_rng(0)
    share = {(1, "pair"): draw.uniform(0.3, 1, 40), (1, "elsewhere"): 0.0}
    run = evidence_on(share)
    apart = [dataclasses.replace(run, names=run.names + 100 * i) for i in range(10)]
    pooled = {"same": Evidence.pool([run] * 10), "own": Evidence.pool(apart)}
    assert pooled["same"].bootstrap(EVALUATION).crossed
    assert not pooled["own"].bootstrap(EVALUATION).crossed
    assert not run.bootstrap(EVALUATION).crossed

    def width(evidence):
        verdict = judge(evidence, EVALUATION)
        found = next(
            r
            for r in verdict.evidence["attributions"]
            if r["role"] == "pair" and r["kind"] == "stream" and r["direction"] == "restore"
        )
        return found["high"] - found["low"]

    # Ten copies of one run know no more than that run.
    assert width(pooled["same"]) == pytest.approx(width(run), rel=0.25)


def test_shared_documents_in_another_order():
    """Catches a split of one's own documents, permuted by the seed, taken for other documents."""
    draw = np.random.default_rng(0)
    first, second = (
        evidence_on({(1, "pair"): draw.uniform(0.3, 1, 40), (1, "elsewhere"): 0.0})
        for _ in range(2)
    )
    at = draw.permutation(40)
    mixed = {name: getattr(second, name)[..., at] for name in ARRAYS}
    pooled = Evidence.pool([first, dataclasses.replace(second, **mixed)])
    assert pooled.bootstrap(EVALUATION).crossed
    assert judge(pooled, EVALUATION) == judge(Evidence.pool([first, second]), EVALUATION)


def test_documents_of_two_seeds():
    """Catches runs of two data seeds, of which each has several, taken for runs on their own."""
    draw = np.random.default_rng(0)
    one, two = (
        dataclasses.replace(evidence_on({(1, "pair"): draw.uniform(0.3, 1, 40)}), names=names)
        for names in (np.arange(40), np.arange(100, 140))
    )
    order = draw.permutation(40)
    turned = dataclasses.replace(two, **{name: getattr(two, name)[..., order] for name in ARRAYS})
    pooled = Evidence.pool([one, two, one, turned])
    assert (pooled.sets, pooled.different) == ([0, 1, 0, 1], 80)
    assert not pooled.bootstrap(EVALUATION).crossed
    assert one.sets == [0]

    def width(evidence):
        bootstrap = evidence.bootstrap(EVALUATION)
        index = next(i for i, c in enumerate(evidence.cells) if (c.kind, c.role) == PAIR)
        estimate = evidence.share(index, "probability", evidence.gap("probability", bootstrap))
        return estimate.spread

    # Copies of two runs know no more than these two on all their documents.
    both = dataclasses.replace(
        one,
        **{
            name: np.concatenate([getattr(each, name) for each in (one, two)], -1)
            for name in ARRAYS
        },
        documents=np.array([80]),
    )
    assert width(pooled) == pytest.approx(width(both), rel=0.25)


def test_a_document_that_runs_share_counts_once():
    """Catches a verdict on eight documents, since three runs have them."""
    run = evidence_on(INDUCED, clean=np.full(8, 0.9), corrupted=np.full(8, 0.1))
    assert judge(Evidence.pool([run] * 3), EVALUATION).verdict == "undecided"
    apart = [dataclasses.replace(run, names=run.names + 100 * i) for i in range(3)]
    assert judge(Evidence.pool(apart), EVALUATION).verdict == "induction"
