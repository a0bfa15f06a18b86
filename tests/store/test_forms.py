"""Forms of files hold what is written in them."""

import dataclasses

from mecheval_jax.forms import mismatch
from mecheval_jax.store import forms
from mecheval_jax.store.sweep_folder import STATUS, GroupStatus
from mecheval_jax.training.ensemble.strategy import Strategy
from tests.support import reported_runs


def test_a_summary_is_of_its_form():
    """Catches a form that refuses what a run has found."""
    evidence = {"gap": 0.6, "attributions": reported_runs.evidence_rows(), "failed": ["placebo"]}
    whole = reported_runs.SUMMARY | reported_runs.VERDICT.as_dict() | {"evidence": evidence}
    whole |= {"over_training": reported_runs.TRAINING, "evidence_step": 200}
    assert mismatch(whole, forms.SUMMARY) is None
    assert mismatch(whole, forms.FINISHED) is None
    assert mismatch({}, forms.SUMMARY) is None
    assert mismatch(whole | {"floors": {}}, forms.FINISHED) == "floors lacks 'best'"


def test_status_and_strategy_are_of_their_forms():
    """Catches a field that is written and then refused."""
    assert mismatch(vars(GroupStatus(best_accuracy=0.5)), STATUS) is None
    assert {name.removesuffix("?") for name in STATUS} == set(vars(GroupStatus()))
    assert mismatch(dataclasses.asdict(Strategy("vmap", 3)), forms.STRATEGY) is None
