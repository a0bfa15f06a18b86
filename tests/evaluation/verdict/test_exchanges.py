"""What a verdict measures: each exchange against a run that is patched by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.evaluation.question import corruption_key
from mecheval_jax.evaluation.verdict.exchanges import CORRUPTED, Exchanges, cases_of, masks_of
from mecheval_jax.evaluation.verdict.places import LOCAL, READING, STREAM, nearest, places_of
from mecheval_jax.interventions import capture, interchange, run
from mecheval_jax.mixers import ARCHITECTURES
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.tasks.geometry import corrupt_pair, geometry
from mecheval_jax.tasks.scoring import answer_probability
from tests.support import planted

DOCUMENTS = 6
TASK = planted.task_with(min_pairs=3)


@pytest.fixture(scope="module")
def measured():
    """A lively Mamba, what is measured of it, and its activations in both runs."""
    config, params, _ = planted.lively("mamba", width=8)
    batch = planted.documents(TASK, DOCUMENTS, 1)
    donors = jnp.array([1, 2, 3, 4, 5, 5])
    raw = jax.device_get(jax.jit(Exchanges(config, TASK, 3).on_device)(params, batch, donors))
    model = LanguageModel(config)
    key = corruption_key(3)
    tokens = [batch.tokens, corrupt_pair(TASK, key, batch)]
    look = jax.jit(lambda tokens: capture(model, params, tokens))
    return config, params, batch, donors, raw, tokens, [look(one) for one in tokens]


def by_hand(measured, base, entries):
    """Probability of the answer in a run of the whole model under interventions."""
    config, params, batch, _, _, tokens, _ = measured
    logits = run(LanguageModel(config), params, tokens[base], entries, batch.query_positions)
    return np.asarray(answer_probability(logits, batch)[:, 0])


def test_exchanges_are_patched_runs(measured):
    """Catches a site left out of several, base and source mixed up, or a mask of another set."""
    config, _, batch, donors, raw, _, seen = measured
    found = geometry(TASK, batch).apart(nearest(config, TASK.usual_length))
    np.testing.assert_array_equal(raw["applies"], found.applies)
    assert 0 < np.asarray(found.applies).sum() <= DOCUMENTS
    np.testing.assert_allclose(raw["runs"]["probability"][0], by_hand(measured, 0, {}), rtol=1e-4)
    np.testing.assert_allclose(
        raw["runs"]["probability"][1], by_hand(measured, CORRUPTED, {}), rtol=1e-4
    )
    for place in places_of(config, TASK.usual_length):
        if place.kind == READING:
            continue
        masks = np.asarray(masks_of(place, found, donors, batch))
        results = raw[str((place.kind, place.layer))]
        np.testing.assert_array_equal(results["present"], masks.any(axis=-1))
        for i, (direction, name) in enumerate(cases_of(place)):
            if name not in ("pair", "elsewhere", "loose", 1):
                continue
            base = 1 if direction == "restore" else 0
            entries = interchange(seen[1 - base], place.sites, jnp.asarray(masks[i]))
            expected = by_hand(measured, base, entries)
            np.testing.assert_allclose(results["probability"][i], expected, rtol=1e-3, atol=1e-6)
    assert {p.kind for p in places_of(config, TASK.usual_length)} == {STREAM, LOCAL, READING}


def test_withheld_readings_are_runs_of_one_layer(measured):
    """Catches a reading withheld from positions other than the question, or from later layers."""
    config, params, batch, donors, raw, tokens, seen = measured
    found = geometry(TASK, batch).apart(nearest(config, TASK.usual_length))
    place = next(p for p in places_of(config, TASK.usual_length) if p.kind == READING)
    mask = jnp.asarray(masks_of(place, found, donors, batch))[0]
    others = {path: jnp.roll(values, -1, axis=0) for path, values in seen[0].items()}
    without = interchange(others, "block_0/mixer_input", mask)
    there = capture(LanguageModel(config), params, tokens[0], None, without)
    at_question = interchange(there, "block_0/mixer_output", found.question)
    expected = by_hand(measured, 0, at_question)
    results = raw[str((READING, 0))]["probability"]
    np.testing.assert_allclose(results[0], expected, rtol=1e-3, atol=1e-6)
    assert np.abs(results[0] - raw["runs"]["probability"][0]).max() > 1e-4


def test_a_placebo_does_not_bring_what_is_asked(measured):
    """Catches another right answer brought in with the tokens of the next document."""
    config, _, batch, donors, *_ = measured
    found = geometry(TASK, batch).apart(nearest(config, TASK.usual_length))
    place = next(p for p in places_of(config, TASK.usual_length) if p.kind == READING)
    asked = np.take_along_axis(batch.tokens, batch.query_positions, axis=1)
    for tokens, some in (
        (batch.tokens, True),
        (jnp.broadcast_to(jnp.roll(asked, 1, axis=0), batch.tokens.shape), False),
    ):
        # Every document but for its question is of the tokens that are told.
        again = batch.replace(tokens=jnp.where(found.question, batch.tokens, tokens))
        masks = np.asarray(masks_of(place, found, donors, again))
        assert masks[1].any() == some
        brought = np.asarray(jnp.roll(again.tokens, -1, axis=0)) == asked
        assert not (masks[1] & brought).any()


@pytest.mark.parametrize("mixer", ARCHITECTURES)
def test_every_architecture_can_be_measured(mixer):
    """Catches a block that needs more than its input, which no measurement gives it."""
    config, params, _ = planted.lively(mixer, width=32)
    batch = planted.documents(TASK, DOCUMENTS, 1)
    measured = Exchanges(config, TASK, 3).on_device
    raw = jax.eval_shape(measured, params, batch, jnp.arange(DOCUMENTS))
    assert {str((READING, layer)) for layer in range(config.layers)} <= set(raw)


@pytest.mark.parametrize("mixer", ["rwkv7", "rwkv7,attention,rwkv7"])
def test_a_cut_is_all_that_later_layers_know(mixer):
    """Catches what the first layer hands on past the residual stream."""
    config, params, _ = planted.lively(mixer, width=8, layers=3)
    batch = planted.documents(TASK, DOCUMENTS, 1)
    model, tokens = LanguageModel(config), corrupt_pair(TASK, corruption_key(3), batch)
    clean, everywhere = capture(model, params, batch), jnp.ones(tokens.shape, bool)
    logits = [
        run(model, params, each, {}, batch.query_positions) for each in (batch.tokens, tokens)
    ]
    cuts = [place for place in places_of(config, TASK.usual_length) if place.kind == STREAM]
    assert len(cuts) == 2
    for cut in cuts:
        restored = interchange(clean, cut.sites, everywhere)
        found = run(model, params, tokens, restored, batch.query_positions)
        np.testing.assert_allclose(found, logits[0], atol=1e-4)
    assert np.abs(logits[0] - logits[1]).max() > 1e-2
