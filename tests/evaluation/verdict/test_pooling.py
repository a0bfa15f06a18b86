"""Which runs are one population, and the verdict on them together."""

import dataclasses

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.verdict.pooling import (
    check_measured_alike,
    check_population,
    judge_together,
)
from tests.support import small
from tests.support.fabricated import DIRECT, EVALUATION, evidence_on

GOOD, BAD = evidence_on(DIRECT), evidence_on(DIRECT, correct=0.2)


def test_those_that_learned_are_judged():
    """Catches a run that only guesses among the evidence, and names in another order."""
    verdict, learned = judge_together({"a": GOOD, "b": BAD, "c": GOOD}, EVALUATION)
    assert learned == {"a": True, "b": False, "c": True}
    assert (verdict.verdict, verdict.evidence["runs"]) == ("direct_retrieval", 2)


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
