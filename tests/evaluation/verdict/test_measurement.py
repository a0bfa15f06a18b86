"""Everything that is asked of a subject: what is measured, and what is left out."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.evaluation.accuracy import floors_of
from mecheval_jax.evaluation.verdict.measurement import (
    measure_verdict,
    plan_verdict,
    sites_of_evidence,
    why_not_judged,
)
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.site_path import in_mixer
from mecheval_jax.study.results import FURTHER, READ, SITES
from tests.support import planted, planted_places


@pytest.mark.parametrize("mixer", ["attention", "mamba"])
def test_what_local_operations_give_is_in_the_grid(mixer):
    """Catches a convolution's output that the figures of a run cannot show."""
    sites = sites_of_evidence(planted.shape_of(mixer))
    assert any("conv_output" in site for site in sites) == (mixer == "mamba")


@pytest.mark.parametrize("mixer", ["attention", "mamba"])
def test_every_place_of_the_study_is_measured(mixer):
    """Catches a claim of a finding that no run of the study could ever decide."""
    model = planted.shape_of(mixer)
    measured = sites_of_evidence(model, FURTHER)
    wanted = {site for site, _ in SITES}
    assert wanted & {*site_paths(model)} <= {*measured}
    assert (READ in measured) == (mixer == "mamba")
    assert {*measured} - {*sites_of_evidence(model)} <= {in_mixer(i, "conv_input") for i in (0, 1)}


def subject(task=planted.TASK):
    return planted.subject_of(
        (planted.shape_of("attention"), None, task), planted.documents(task, 8)
    )


def test_what_is_asked_for():
    """Catches a grid that nobody asked for, and a verdict where there are no keys to corrupt."""
    both, _ = plan_verdict(subject())
    assert both.grid.sites == sites_of_evidence(subject().config)
    assert both.controls is not None
    verdict_alone, _ = plan_verdict(subject(), ())
    assert verdict_alone.grid is None
    neither, arrays = plan_verdict(subject(), (), verdict=False)
    assert (neither.grid, neither.controls) == (None, None)
    assert arrays.tokens.shape[0] == 8
    batch = subject().batch
    without_keys = batch.replace(roles={n: x for n, x in batch.roles.items() if n != "key"})
    asked = dataclasses.replace(
        subject(),
        batch=without_keys,
        evaluation=dataclasses.replace(planted.EVALUATION, roles=("value",)),
    )
    unjudged, _ = plan_verdict(asked)
    assert unjudged.grid is not None
    assert unjudged.controls is None
    assert "add the role 'key'" in why_not_judged(asked.task, without_keys)


def test_the_floor_is_that_of_the_first_query():
    """Catches the accuracy of query 0 compared with a guess at later ones, which can leave out what
    was answered before."""
    task = planted.task_with(pairs=4, queries=4)
    asked = planted.subject_of(
        planted.lively("attention", task=task, max_length=task.max_length),
        planted.documents(task, 24),
    )
    found = measure_verdict(asked, ())
    of_all = found.accuracy["floors"]["elimination"]
    assert of_all == pytest.approx((1 / 4 + 1 / 3 + 1 / 2 + 1) / 4)
    floor = found.verdict.evidence["floor"]
    first = floors_of(task, asked.data_seed, "test", first=True)
    assert floor == first["best"]
    assert first["elimination"] == pytest.approx(1 / 4)
    assert floor < of_all - 0.1


def test_where_something_else_carries_the_answer_is_searched():
    """Catches an abstention that leaves the reader to guess: the pair is held at one far place."""
    model = planted_places.far_storage(1)
    found = measure_verdict(planted.subject_of(model, planted.documents(model[2], 64, 1)), ())
    verdict = found.verdict
    assert (verdict.verdict, verdict.elsewhere) == ("undecided", 1)
    best = verdict.evidence["search"][0]
    assert best["value"] > 0.15
    assert f"{best['value']:.2f} at {best['offset']:+d}" in verdict.reason
    assert "something else carries the answer" in verdict.reason
    values = [row["value"] for row in verdict.evidence["search"]]
    assert values == sorted(values, reverse=True)
    assert jnp.isfinite(np.array(values)).all()
