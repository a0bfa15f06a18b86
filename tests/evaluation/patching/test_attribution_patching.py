"""Attribution by gradient: derivatives of the interchange grid, and how far they agree with it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig, GradientsConfig
from mecheval_jax.evaluation.patching.attribution_patching import attribute
from mecheval_jax.evaluation.patching.effects import effects
from mecheval_jax.evaluation.patching.grid import corrupted_tokens, grid
from mecheval_jax.interventions import (
    capture,
    compose,
    interchange,
    run,
    site_paths,
)
from tests.support import planted

DOCUMENTS = 8
ROLES = ("key", "value", "next_key", "query")
EVALUATION = EvaluationConfig(documents=DOCUMENTS, roles=ROLES, corruptions=("key",), resamples=50)
LOGIT = GradientsConfig(measure="logit")
MODELS = ("attention,mamba", "lstm,gated_delta_net")


@functools.cache
def example(mixer, evaluation=EVALUATION, **options):
    return planted.lively_subject(mixer, evaluation, **options)


class Moved:
    """The answer's centred logit when one activation has gone a little way to another run's."""

    def __init__(self, mixer):
        subject = example(mixer)
        model, params, batch = subject.model, subject.params, subject.batch
        self.sites = site_paths(subject.config)
        corrupted = corrupted_tokens(planted.VARIED, batch, ("key",), EVALUATION.seed)
        tokens = jnp.stack([batch.tokens, *corrupted])
        seen = jax.jit(jax.vmap(lambda t: capture(model, params, t)))(tokens)
        self.roles = {role: batch.roles[role][:, 0] for role in ROLES}

        # One program for all cells: every site has an entry, and all but one select nothing.
        @jax.jit
        def answer(base, share, places):
            along = jax.tree.map(lambda x: x[base] + share * (x[1 - base] - x[base]), seen)
            patches = (interchange(along, [s], places[i]) for i, s in enumerate(self.sites))
            logits = run(model, params, tokens[base], compose(*patches))
            documents = jnp.arange(DOCUMENTS)
            logits = logits[documents, batch.query_positions[:, 0]]
            return logits[documents, batch.targets[:, 0]] - logits.mean(axis=-1)

        self.answer = answer

    def slope(self, site, role, base, step=1e-2):
        places = np.full((len(self.sites), DOCUMENTS), -1)
        places[self.sites.index(site)] = self.roles[role]
        ahead, behind = (np.asarray(self.answer(base, by, places)) for by in (step, -step))
        return (ahead - behind) / (2 * step)


@pytest.mark.parametrize("mixer", MODELS)
def test_patching_is_the_derivative_of_the_exchange(mixer):
    """Catches a gradient at the wrong run or position, and a state whose change stays put."""
    estimate = attribute(example(mixer), ["all"], options=LOGIT)
    moved = Moved(mixer)
    assert estimate.sites == moved.sites
    for site in moved.sites:
        for d, base in enumerate((1, 0)):
            for r in (0, 1, 3):
                expected = moved.slope(site, ROLES[r], base)
                scale = np.abs(expected).max() + 0.1
                ours = estimate.changes[site][d, 0, r]
                np.testing.assert_allclose(ours, expected, atol=0.03 * scale, err_msg=site)


BOTH = dataclasses.replace(EVALUATION, corruptions=("key", "value"))


def test_exact_where_the_readout_is_linear():
    """Catches an estimate that is off by a factor or by the run that it is added to."""
    model = example("attention", BOTH)
    sites = ["final_norm"]
    measured = effects(grid(model, sites), "logit")
    estimate = attribute(model, sites, options=LOGIT)
    assert np.abs(measured.changes["final_norm"][:, :, 3]).max() > 0.1
    np.testing.assert_allclose(estimate.runs, measured.runs, rtol=1e-5)
    np.testing.assert_allclose(
        estimate.changes["final_norm"], measured.changes["final_norm"], rtol=1e-4, atol=1e-5
    )


def test_integrated_gradients_are_complete():
    """Catches a line that does not join the runs, and a mean with the wrong weights."""
    model = example("attention", BOTH)
    fine = GradientsConfig(steps=128, measure="logit")
    found = attribute(model, ["embedding"], "integrated_gradients", fine)
    assert attribute(model, ["embedding"], options=LOGIT).whole is None
    # The whole is that of all positions, whichever sites are asked for.
    other = attribute(model, ["final_norm"], "integrated_gradients", fine)
    np.testing.assert_allclose(other.whole, found.whole, rtol=1e-4, atol=1e-6)
    # Only the corrupted token's embedding differs between the runs.
    for c, role in enumerate(BOTH.corruptions):
        changes = found.changes["embedding"][:, c, ROLES.index(role)]
        gap = found.gap(role).sizes
        assert np.abs(gap).max() > 0.01
        np.testing.assert_allclose(changes, np.stack([gap, -gap]), atol=0.02 * np.abs(gap).max())
        np.testing.assert_allclose(found.whole[c], changes[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "gradient_patching"}, r"unknown method 'gradient_patching'"),
        ({"options": {"measure": "prob"}}, r"did you mean 'probability'"),
        ({"options": {"steps": 0}}, r"gradients.steps is 0"),
        ({"sites": ["block_0/mixer/conv"]}, r"unknown site 'block_0/mixer/conv'"),
    ],
)
def test_mistakes_are_named(changes, message):
    """Catches a request that is silently something else."""
    with pytest.raises(UserError, match=message):
        attribute(
            example("attention"),
            **changes | {"options": GradientsConfig(**changes.get("options", {}))},
        )
