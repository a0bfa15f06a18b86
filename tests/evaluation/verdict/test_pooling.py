"""Which runs are one population, and the verdict on them together."""

import dataclasses

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.verdict.evidence import Evidence
from mecheval_jax.evaluation.verdict.places import in_either_order
from mecheval_jax.evaluation.verdict.pooling import (
    check_measured_alike,
    check_population,
    judge_together,
)
from mecheval_jax.evaluation.verdict.verdict import judge
from tests.support import small
from tests.support.fabricated import DIRECT, EVALUATION, INDUCED, evidence_on

GOOD, BAD = evidence_on(DIRECT), evidence_on(DIRECT, correct=0.2)


def test_those_that_learned_are_judged():
    """Catches a run that only guesses among the evidence, and names in another order."""
    verdict, each = judge_together({"a": GOOD, "b": BAD, "c": GOOD}, EVALUATION)
    found = {name: one.verdict for name, one in each.items()}
    assert found == {"a": "direct_retrieval", "b": "not_learned", "c": "direct_retrieval"}
    assert (verdict.verdict, verdict.evidence["runs"]) == ("direct_retrieval", 2)


def documents_of(number, **options):
    """Evidence of a run on documents of its own."""
    found = evidence_on(INDUCED, **options)
    return dataclasses.replace(found, names=found.names + 1000 * number)


@pytest.mark.parametrize("shared", [True, False])
def test_how_far_two_runs_lie_apart_takes_no_learning_away(shared):
    """Catches two runs that answer 98 and 81 %, one of which loses more by the corruption than the
    other, called not learned, since two tell little of how far runs lie apart."""
    large, small_ = np.full(320, 0.9), np.full(320, 0.1)
    runs = {
        "a": documents_of(0, clean=large, corrupted=small_, correct=0.98),
        "b": documents_of(not shared, clean=large, corrupted=small_ + 0.2, correct=0.81),
    }
    verdict, each = judge_together(runs, EVALUATION)
    assert {one.verdict for one in each.values()} == {"induction"}
    assert verdict.verdict == "induction", verdict.reason
    least = [one.evidence["accuracy_least"] for one in each.values()]
    assert verdict.evidence["accuracy_least"] == min(least)


def test_different_mechanisms_are_not_called_mixed():
    """Catches the mean of runs of pure mechanisms given as what each of them does: a half of it is
    at the pair and a half at the question, which looks like two routes in one model."""
    apart = {f"run {i}": evidence_on(shares) for i, shares in enumerate((INDUCED, DIRECT) * 8)}
    pooled = judge(Evidence.pool(list(apart.values())), EVALUATION)
    assert pooled.verdict == "mixed"  # what is to be caught
    verdict, each = judge_together(apart, EVALUATION)
    assert (verdict.verdict, verdict.layer, verdict.binding) == ("undecided", None, None)
    assert verdict.reason.startswith(
        "runs differ: run 0 induction (layer 1), run 1 direct_retrieval (layer 0), run 2 "
    )
    assert verdict.reason.endswith("(their mean would be called mixed)")
    assert verdict.probabilities == pooled.probabilities
    assert each["run 1"].verdict == "direct_retrieval"


def test_shared_documents_are_counted_once():
    """Catches 30 documents that are called too few where it takes 20."""
    few = evidence_on(DIRECT, clean=np.full(15, 0.9), corrupted=np.full(15, 0.1))
    verdict, _ = judge_together({"a": few, "b": few}, EVALUATION)
    assert verdict.reason.startswith("15 documents have a pair")


def test_a_draw_of_documents_does_not_name_an_architecture():
    """Catches runs refused as of different models where pairs stand in either order, and in the
    documents of one of them all values came first."""
    cells = tuple(
        cell._replace(role=in_either_order(cell.role)) for cell in evidence_on(DIRECT).cells
    )
    assert cells != GOOD.cells
    other = dataclasses.replace(GOOD, cells=cells)
    verdict, _ = judge_together({"a": GOOD, "b": other}, EVALUATION)
    assert (verdict.verdict, verdict.evidence["runs"]) == ("direct_retrieval", 2)


def test_logits_that_are_not_finite_are_named():
    """Catches a traceback, and a corruption said to change nothing, after all was measured."""
    for measure, document in ((slice(None), 3), (1, 5)):
        ends = GOOD.ends.copy()
        ends[measure, :, document] = np.nan
        verdict = judge(dataclasses.replace(GOOD, ends=ends), EVALUATION)
        assert verdict.verdict == "undecided"
        assert verdict.reason.startswith("documents whose logits are not finite: 1;")
    # An exchange that overflows would count as no evidence against what it is to exclude.
    patched, present = GOOD.patched.copy(), GOOD.present.copy()
    patched[:, -1, 7] = np.nan, np.inf
    verdict = judge(dataclasses.replace(GOOD, patched=patched), EVALUATION)
    assert verdict.reason.startswith("documents whose logits are not finite: 1;")
    present[-1, 7] = False
    known = judge(dataclasses.replace(GOOD, patched=patched, present=present), EVALUATION)
    assert known.verdict == judge(GOOD, EVALUATION).verdict


def test_one_that_learned_is_no_population():
    """Catches the verdict on one run given as that on several."""
    with pytest.raises(UserError, match="of 2 runs those that have learned the task are: a; "):
        judge_together({"a": GOOD, "b": BAD}, EVALUATION)


def test_evidence_of_another_model_is_refused_of_a_run_left_out():
    """Catches a run that is passed over as not learned where it is of another model."""
    other = evidence_on(DIRECT, correct=0.2, local=(0,))
    with pytest.raises(UserError, match="different architectures"):
        judge_together({"a": GOOD, "b": GOOD, "c": other}, EVALUATION)


def test_numbers_of_documents_must_be_the_same():
    """Catches runs on some of the same documents that are resampled as if all were their own."""
    few = evidence_on(DIRECT, clean=np.full(30, 0.9), corrupted=np.full(30, 0.1))
    with pytest.raises(UserError, match=r"a on 40, b on 30\): measure all on as many"):
        judge_together({"a": GOOD, "b": few}, EVALUATION)
    # Documents without a pair count as well: it is the number that was measured.
    others = dataclasses.replace(few, left_out=np.array([10]))
    assert judge_together({"a": GOOD, "b": others}, EVALUATION)[0].evidence["runs"] == 2


def test_a_population_differs_in_seeds():
    """Catches a copy counted twice, and a setting averaged over; options of analyses are none."""
    first = small.experiment(seed=0)
    check_population({"a": first, "b": small.experiment(seed=0, data_seed=7)})
    check_population(
        {"a": first, "b": small.experiment(seed=1).with_analyses(["probes.ridge=0.5"])}
    )
    with pytest.raises(UserError, match="two runs or more"):
        check_population({"a": first})
    with pytest.raises(UserError, match="a and c have the same seeds"):
        check_population({"a": first, "b": small.experiment(seed=1), "c": first})
    with pytest.raises(UserError, match=r"learning_rate is .* in a and 0.5 in b"):
        check_population({"a": first, "b": small.experiment(seed=1, learning_rate=0.5)})


def test_verdicts_of_one_population_are_of_like_steps_and_documents():
    """Catches a look back in training that is pooled with verdicts on runs at their ends."""

    def measured(step, end=40, split="test"):
        return {"evidence_step": step, "step": end, "evidence_split": split}

    check_measured_alike({"a": measured(40), "b": measured(30, end=30)})  # stopped early
    check_measured_alike({"a": measured(20), "b": measured(20)})
    check_measured_alike({"a": measured(40), "b": {}})
    with pytest.raises(UserError, match="a at step 20, b at step 40"):
        check_measured_alike({"a": measured(20), "b": measured(40)})
    with pytest.raises(UserError, match="a on test, b on dev"):
        check_measured_alike({"a": measured(40), "b": measured(40, split="dev")})
