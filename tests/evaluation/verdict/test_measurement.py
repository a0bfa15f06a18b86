"""Everything that is asked of a subject: what is measured, and what is left out."""

import dataclasses

import pytest

from mecheval_jax.evaluation.verdict.evidence import verdict_sites
from mecheval_jax.evaluation.verdict.measurement import plan_verdict, sites_of_evidence
from tests.support import planted


@pytest.mark.parametrize("mixer", ["attention", "mamba"])
def test_all_that_a_verdict_reads_is_in_the_grid(mixer):
    """Catches a convolution's output that the figures of a run cannot show."""
    config = planted.shape_of(mixer)
    sites = sites_of_evidence(config)
    assert set(verdict_sites(config)) <= set(sites)
    assert any("conv_output" in site for site in sites) == (mixer == "mamba")


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
