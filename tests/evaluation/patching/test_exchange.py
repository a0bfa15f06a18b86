"""Exchanged activations: one position or a mask of several, one site or several together."""

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.evaluation.patching.exchange import CLEAN, Runs, pinned_sites
from mecheval_jax.evaluation.question import Question
from mecheval_jax.models.language_model import LanguageModel
from tests.support import planted


def test_what_is_held_comes_before():
    """Catches a component after the site held at its old value, which would undo the patch."""
    config = planted.shape_of("mamba")
    before = ("block_1/block_input", "block_1/mixer_input")
    assert pinned_sites("block_1/mixer/conv_output", config) == before
    assert pinned_sites("block_1/block_input", config) == ()
    assert pinned_sites("embedding", config) == ()


def test_masks_and_positions_are_the_same_exchange():
    """Catches a mask read as an index, and one of several sites left at its old value."""
    config, params, task = planted.lively("delta_net", layers=1, width=8)
    batch = planted.documents(task, 4, 1)
    sites = tuple(f"block_0/mixer/{name}" for name in "kv")
    items = jnp.array([(1, CLEAN, 0), (1, CLEAN, 1)])

    @jax.jit
    def program(params):
        question = Question(LanguageModel(config), params, batch)
        tokens = jnp.stack([batch.tokens, jnp.roll(batch.tokens, 1, axis=0)])
        runs = Runs.of(question, tokens, set(sites))
        index = jnp.arange(batch.tokens.shape[1])
        places = jnp.stack([batch.roles["key"][:, 0], batch.roles["value"][:, 0]])
        both = [
            runs.exchanged(sites, items, given)["probability"]
            for given in (places, places[..., None] == index[None, None])
        ]
        everywhere = jnp.ones((1, *batch.tokens.shape), bool)
        apart = [runs.exchanged((site,), items[:1], everywhere)["probability"] for site in sites]
        whole = runs.exchanged(sites, items[:1], everywhere)["probability"]
        return both, apart, whole, runs.answers["probability"]

    both, apart, whole, ends = jax.device_get(program(params))
    np.testing.assert_allclose(*both, rtol=1e-5)
    assert np.abs(both[0][0] - both[0][1]).max() > 1e-6  # another position is another exchange
    assert np.abs(both[0] - ends[1]).max() > 1e-6
    for one in apart:
        assert np.abs(one - whole).max() > 1e-6


def test_an_exchange_that_changes_nothing():
    """Catches a run that is computed, or left out, by the wrong activations."""
    config, params, task = planted.lively("delta_net", layers=2, width=8)
    batch = planted.documents(task, 4, 1)
    site, last = "block_0/block_input", "block_1/mixer_output"
    key = batch.roles["key"][:, 0]

    @jax.jit
    def program(params, tokens):
        runs = Runs.of(Question(LanguageModel(config), params, batch), tokens, {site, last})
        items = jnp.array([(1, CLEAN, 0), (1, CLEAN, 1), (1, CLEAN, 2)])
        places = jnp.stack([key, key + 1, jnp.full_like(key, -1)])
        masks = places[..., None] == jnp.arange(tokens.shape[-1])[None, None]
        found = [runs.exchanged((site,), items, given) for given in (places, masks)]
        return found, runs.exchanged((site, last)[1:], items, places), runs.answers

    other = batch.tokens.at[0, key[0]].set((batch.tokens[0, key[0]] + 1) % task.vocabulary_size)
    found, unread, answers = jax.device_get(program(params, jnp.stack([batch.tokens, other])))
    base = {name: values[1] for name, values in answers.items()}
    for patched in found:
        # At the key the first document changes; behind it, and nowhere, none does.
        assert patched["kl"][0, 0] > 1e-6
        for name, values in patched.items():
            expected = base.get(name, 0.0)
            assert (values[1:] == expected).all(), name
    assert all((unread[name] == base.get(name, 0.0)).all() for name in unread)
