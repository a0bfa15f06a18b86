"""Runs under interventions, against models by hand, and the activations that they give."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import (
    capture,
    compose,
    interchange,
    run,
    validate,
    zero,
)
from mecheval_jax.interventions.capture import nested, observe
from mecheval_jax.interventions.positions import positions_mask
from mecheval_jax.models.blocks import Block
from mecheval_jax.models.language_model import LanguageModel
from tests.support import planted, references
from tests.support.observed import MIXERS, SIX, canonical, observed_of
from tests.support.two_runs import (
    DOCUMENTS,
    EVERYWHERE,
    LENGTH,
    NOWHERE,
    differs,
    same,
    subject_of,
)


def test_the_two_runs_differ_everywhere_that_matters(subject):
    """Catches subjects on which the equalities below would hold of any program."""
    assert differs(subject.logits, subject.other_logits).all()
    for layer in range(2):
        for part in subject.config.components(layer):
            site = f"block_{layer}/{part}"
            assert differs(subject.patched(subject.restore(site)), subject.logits).all(), site


def test_without_interventions_nothing_changes(subject):
    """Catches an entry that acts although its mask selects nothing."""
    plain = jax.jit(lambda params, tokens: run(subject.model, params, tokens))
    np.testing.assert_allclose(
        subject.logits, plain(subject.params, subject.tokens), rtol=1e-5, atol=1e-5
    )


def test_a_patched_run_is_the_rest_of_the_model_by_hand(attention):
    """Catches a patch at the wrong place: two independent ways to intervene must agree."""
    live, source = (
        np.asarray(run_["block_1/block_input"]) for run_ in (attention.activations, attention.other)
    )
    residual, value = live.copy(), attention.batch.roles["value"][:, 0]
    rows = np.arange(DOCUMENTS)
    residual[rows, value] = source[rows, value]
    logits = run(
        attention.model,
        attention.params,
        attention.tokens,
        interchange(attention.other, ["block_1/block_input"], value),
    )
    by_hand = lambda residual: references.transformer(
        attention.params, attention.activations["embedding"], {"block_1/block_input": residual}
    )["logits"]
    expected = by_hand(residual)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)
    assert differs(by_hand(live), expected, 1e-2).all()


@pytest.mark.parametrize("mixer", ["based", "mamba"])
def test_a_patched_run_is_the_last_block_applied_to_the_patched_stream(mixer):
    """Catches a patch that acts anywhere but on the block's own input."""
    subject = subject_of(mixer)
    config, value = subject.config, subject.batch.roles["value"][:, 0]
    source = subject.other["block_1/block_input"]
    here = jnp.arange(LENGTH)[None, :, None] == value[:, None, None]
    residual = jnp.where(here, source, subject.activations["block_1/block_input"])
    block = Block(config.build_mixer(1), config.block(1))
    expected = jax.jit(lambda p, r: block.apply({"params": p}, r)[0])(
        subject.params["block_1"], residual
    )
    _, seen = subject.observe(subject.restore("block_1/block_input", value))
    np.testing.assert_allclose(seen["block_1/block_output"], expected, rtol=1e-4, atol=1e-4)
    before = subject.activations["block_1/block_output"]
    assert differs(before, expected, 1e-2).all()


class Composition(chex.TestCase):
    """Interventions under the transformations of JAX, compiled and not."""

    def setUp(self):
        super().setUp()
        self.subject = subject_of("attention")

    def _at(self, positions):
        """Logits of the clean documents, patched at `positions`."""
        subject = self.subject
        patch = interchange(subject.other, ["block_1/block_input"], positions)
        return run(subject.model, subject.params, subject.tokens, patch)

    @chex.variants(with_jit=True, without_jit=True)
    def test_vmap_over_positions(self):
        """Catches masks or values that must be concrete, or an axis that is mixed up."""
        key = self.subject.key
        positions = jnp.stack([key, key + 1, NOWHERE])
        together = self.variant(jax.vmap(self._at))(positions)
        apart = [
            self.subject.patched(self.subject.restore("block_1/block_input", p)) for p in positions
        ]
        np.testing.assert_allclose(together, np.stack(apart), rtol=1e-4, atol=1e-4)
        assert differs(together[0], together[1]).all()

    @chex.variants(with_jit=True, without_jit=True)
    def test_gradient_of_a_value(self):
        """Catches a gradient that is stopped at a site, or that leaks outside its mask."""
        subject, site = self.subject, "block_1/block_input"
        mask = positions_mask(subject.key, (len(subject.key), LENGTH, 1))

        def loss(value):
            patch = {site: {"value": value, "mask": mask}}
            return (run(subject.model, subject.params, subject.tokens, patch) ** 2).mean()

        value = subject.other["block_1/block_input"]
        gradient = np.asarray(self.variant(jax.grad(loss))(value))
        at_key = np.broadcast_to(np.asarray(mask), gradient.shape)
        assert not gradient[~at_key].any()
        assert np.abs(gradient[at_key]).min() > 0
        step = 1e-2 * jnp.asarray(gradient) / np.linalg.norm(gradient)
        after, before = jax.lax.map(loss, jnp.stack([value + step, value - step]))
        rise = (after - before) / 2e-2
        np.testing.assert_allclose(rise, np.linalg.norm(gradient), rtol=2e-2)


def test_capture_of_chosen_sites():
    """Catches a choice that is ignored, or that gives another site's values."""
    config, params, task = planted.lively("attention", layers=1)
    tokens = planted.documents(task, 4).tokens
    sites = ["blocks.0.hook_resid_pre", "final_norm"]

    @jax.jit
    def look(params, tokens):
        chosen = capture(LanguageModel(config), params, tokens, sites)
        return chosen, capture(LanguageModel(config), params, tokens)

    chosen, everything = look(params, tokens)
    assert set(chosen) == {"block_0/block_input", "final_norm"}
    for path, value in chosen.items():
        np.testing.assert_array_equal(value, everything[path])


def test_what_the_output_head_reads_is_rewritten_in_documents():
    """Catches a site that is captured at every token and can be rewritten at the query alone."""
    config, params, task = planted.lively("attention", layers=1)
    model, batch = LanguageModel(config), planted.documents(task, 4)
    other = capture(model, params, jnp.roll(batch.tokens, 1, axis=0), ["final_norm"])
    at_query = interchange(other, ["final_norm"], batch.query_positions)
    before, after = (run(model, params, batch, patch) for patch in (None, at_query))
    assert before.shape == after.shape == (4, 1, config.vocabulary_size)
    asked = np.take_along_axis(other["final_norm"], np.asarray(batch.query_positions)[..., None], 1)
    table = np.asarray(params["token_embedding"]["embedding"])
    np.testing.assert_allclose(after, asked @ table.T, rtol=1e-5, atol=1e-5)
    assert not np.allclose(before, after)
    elsewhere = interchange(other, ["final_norm"], jnp.zeros(4, int))
    np.testing.assert_array_equal(run(model, params, batch, elsewhere), before)


@pytest.mark.parametrize("mixer", MIXERS)
def test_reading_at_the_query_alone_sees_the_same(mixer):
    """Catches a shortened last layer whose logits or sites differ from the whole one's."""
    config, params, batch, logits, values = observed_of(mixer)
    model, query = LanguageModel(config), batch.query_positions
    short, seen = jax.jit(
        lambda params, batch: observe(
            model, params, batch.tokens, positions=query, skip_unread=True
        )
    )(params, batch)
    at_query = lambda x: np.take_along_axis(np.asarray(x), np.asarray(query)[..., None], axis=1)
    np.testing.assert_allclose(short, at_query(logits), rtol=1e-4, atol=1e-4)
    after = {"final_norm", *(f"block_1/{part}" for part in ("mixer_output", *SIX[3:]))}
    for path in canonical(values):
        expected = at_query(values[path]) if path in after else values[path]
        np.testing.assert_allclose(seen[path], expected, rtol=1e-4, atol=1e-4)


def test_what_a_captured_patch_holds_is_what_the_site_returned(subject):
    """Catches a capture of the live value instead of the one that flows on."""
    patch = subject.restore("block_0/mixer_output", subject.key)
    logits, seen = subject.observe(patch)
    same(subject.patched(interchange(seen, ["block_1/block_input"], EVERYWHERE)), logits)


def test_capture_under_an_intervention(attention):
    """Catches interventions that `capture` takes and does not apply."""
    patch, site = attention.restore("block_0/mixer_output", attention.key), "block_1/block_input"
    captured = jax.jit(
        lambda params, patch: capture(attention.model, params, attention.tokens, [site], patch)
    )(attention.params, patch)
    expected = attention.observe(patch)[1]["block_1/block_input"]
    np.testing.assert_allclose(captured["block_1/block_input"], expected, rtol=1e-4, atol=1e-4)


def test_flat_and_nested_are_the_same(attention):
    """Catches a path that is lost or renamed on its way to the modules."""
    assert set(attention.activations) == set(attention.sites)
    for path, entry in interchange(attention.activations, attention.sites).items():
        inner = nested({path: entry})
        for name in path.split("/"):
            assert set(inner) == {name}
            inner = inner[name]
        assert inner is entry


def test_names_of_other_tools_in_interventions(subject):
    """Catches an entry under an alias that no module finds, and one of two that is dropped."""
    patch = subject.restore("block_1/block_input", subject.key)
    renamed = {"blocks.1.hook_resid_pre": patch["block_1/block_input"]}
    validate(renamed, subject.activations)
    same(subject.patched(renamed), subject.patched(patch))
    by_alias = run(subject.model, subject.params, subject.tokens, renamed)
    np.testing.assert_allclose(by_alias, subject.patched(patch), rtol=1e-4, atol=1e-4)
    for both in (nested, compose, lambda both: validate(both, subject.activations)):
        with pytest.raises(UserError, match="two of these are one site"):
            both(patch | renamed)


def test_sites_are_a_list_or_one_name():
    """Catches a name that is read letter by letter, and an intervention at no site at all."""
    tree = {"embedding": jnp.arange(24.0).reshape(3, 4, 2)}
    whole = zero(tree, ["embedding"])
    np.testing.assert_array_equal(
        zero(tree, "embedding")["embedding"]["value"], whole["embedding"]["value"]
    )
    with pytest.raises(UserError, match="no sites"):
        zero(tree, [])


@pytest.mark.parametrize("position", [-1, 8])
def test_positions_outside_of_the_documents_are_refused(position):
    """Catches zeros or NaN for what no document has."""
    config, params, batch, _, _ = observed_of("attention")
    model, places = LanguageModel(config), jnp.full((4, 1), position)
    tokens = batch.tokens[:, :8]
    for look in (run, observe):
        with pytest.raises(UserError, match=rf"positions are {position} to {position}: .* 0 to 7"):
            look(model, params, tokens, positions=places)
