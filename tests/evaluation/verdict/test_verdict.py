"""The verdict: known mechanisms get their name, and evidence that does not suffice gets none."""

import dataclasses

import numpy as np
import pytest

from mecheval_jax.evaluation.patching.exchange import CLEAN
from mecheval_jax.evaluation.verdict.evidence import Evidence
from mecheval_jax.evaluation.verdict.exchanges import CORRUPTED
from mecheval_jax.evaluation.verdict.rule import label
from mecheval_jax.evaluation.verdict.verdict import judge, judge_replicates
from mecheval_jax.tasks.scoring import MEASURES
from tests.support import planted
from tests.support.fabricated import DIRECT, EVALUATION, INDUCED, evidence_on, verdict_on
from tests.support.planted_kinds import KINDS, RIGHT, WRONG

QUICK = ("induction", "direct", "delayed", "split storage", "at value", "at value+2, layer 1")


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_mechanism_gets_its_name(name):
    """Catches positions, layers or directions mixed up anywhere between model and verdict."""
    kind = KINDS[name]
    for seed in (1, 2):
        verdict = planted.verdict_of(kind.build(seed), seed)
        assert verdict.evidence["accuracy"] >= 0.99
        assert kind.grade(verdict) == RIGHT, verdict
        assert verdict.probabilities[verdict.verdict] == 1


SEEDS = 20
"""Of each kind here; `python -m tools.prove_verdict` takes 200, which docs/verdict.md shows."""


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_gets_its_name(name):
    """Catches a rule that is right for some directions, vocabularies or documents only.

    Never another mechanism than the model's own, and nothing but `not_learned` of models and
    heuristics that do not recall.
    """
    kind = KINDS[name]
    found = [kind.judge(seed) for seed in range(SEEDS)]
    grades = [kind.grade(verdict) for verdict in found]
    assert WRONG not in grades, found[grades.index(WRONG)]
    fewest = 1.0 if kind.verdict == "not_learned" else 0.9
    assert grades.count(RIGHT) >= fewest * SEEDS


def test_an_untrained_model_has_learned_nothing():
    """Catches a mechanism read out of noise."""
    model = planted.untrained("attention", feed_forward="none")
    verdict = planted.verdict_of(model)
    assert (verdict.verdict, verdict.layer, verdict.binding) == ("not_learned", None, None)
    assert verdict.probabilities["not_learned"] == 1
    assert f"{verdict.evidence['accuracy_least']:.1%}" in verdict.reason
    assert f"{planted.floor():.1%}" in verdict.reason


def test_probabilities_of_a_few_right_answers_do_not_claim_certainty():
    """Catches replicates that are all right because all answers were, beside `not_learned`."""
    verdict = verdict_on(INDUCED, correct=1.0, floor=0.95)
    assert verdict.verdict == "not_learned"
    assert 0.02 < verdict.probabilities["not_learned"] < 0.5


def test_the_evidence_holds_the_numbers():
    """Catches a verdict whose numbers cannot be traced in summary.json."""
    shares = {(1, "pair"): 0.7, (1, "elsewhere"): 0.05, (1, "pair", "damage"): 0.6}
    verdict = verdict_on(shares | {(1, "value"): 0.3}, floor=0.26, local=(0,))
    found = verdict.as_dict()["evidence"]
    assert (found["accuracy"], found["floor"]) == (0.95, 0.26)
    assert found["accuracy_low"] < 0.95 < found["accuracy_high"]
    assert found["gap"] == pytest.approx(0.8)
    places = {(e["kind"], e["direction"], e["role"]): e for e in found["attributions"]
              if e["site"].startswith("block_1")}  # fmt: skip
    assert places["stream", "restore", "pair"]["value"] == pytest.approx(0.7)
    assert places["stream", "damage", "pair"]["value"] == pytest.approx(0.6)
    assert places["stream", "restore", "value"]["value"] == pytest.approx(0.3)
    assert places["stream", "restore", "value"]["single"]
    assert not places["stream", "restore", "pair"]["single"]
    assert places["reading", "withhold", "pair"]["logit"] == pytest.approx(0.9)
    assert all(
        e["low"] <= e["value"] + 1e-9 and e["value"] <= e["high"] + 1e-9
        for e in found["attributions"]
    )


def test_what_one_document_or_no_logit_tells_is_no_traceback():
    """Catches a verdict that is lost because an interval, or a share of logits, is not known."""
    found = evidence_on(DIRECT)
    placebo = [cell.role == "uninvolved" and cell.kind == "reading" for cell in found.cells]
    present = found.present.copy()
    present[placebo] = np.arange(present.shape[1]) == 0
    verdict = judge(dataclasses.replace(found, present=present), EVALUATION)
    assert (verdict.verdict, verdict.layer) == ("direct_retrieval", 0)
    # The answer's probability depends on the pair, its logit less the mean of all does not.
    ends = found.ends.copy()
    ends[MEASURES.index("logit"), CLEAN] = ends[MEASURES.index("logit"), CORRUPTED]
    verdict = judge(dataclasses.replace(found, ends=ends), EVALUATION)
    assert (verdict.verdict, verdict.elsewhere) == ("undecided", None)
    assert verdict.reason == (
        "in logits, corrupting the pair changes the answer too little to say what restores it"
    )


def test_replicates_name_the_layer():
    """Catches a mechanism that moves to another layer in training and is taken for the same."""
    shares = {(1, "loose"): 1.0, (1, "elsewhere"): 1.0, (2, "pair"): 0.9}
    verdict, replicates = judge_replicates(evidence_on(shares, layers=3), EVALUATION)
    assert set(replicates) == {"induction (layer 2)"}
    assert label(verdict.verdict, verdict.layer) == "induction (layer 2)"
    assert label("undecided", -1) == label("undecided", None) == "undecided"


def test_runs_are_resampled_before_documents():
    """Catches runs pooled as if their documents were those of one: seeds that differ count."""
    retrieves = {(1, "question"): 1.0, (1, "elsewhere"): 1.0}
    verdict = judge(Evidence.pool([evidence_on(INDUCED)] * 3), EVALUATION)
    assert (verdict.verdict, verdict.evidence["runs"]) == ("induction", 3)
    divided = [evidence_on(shares) for shares in (INDUCED, retrieves) * 2]
    verdict = judge(Evidence.pool(divided), EVALUATION)
    at_value = next(e for e in verdict.evidence["attributions"] if e["role"] == "pair"
                    and e["kind"] == "stream" and e["direction"] == "restore")  # fmt: skip
    assert at_value["value"] == pytest.approx(0.5)
    # Every document of a run agrees: documents alone would give an interval without width.
    assert at_value["high"] - at_value["low"] > 0.4
