"""Surgery: what one write has left in a state, against the recurrence written out."""

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.memory.editing import factors_of
from mecheval_jax.evaluation.memory.removal import MemoryPlace
from mecheval_jax.evaluation.memory.surgery import Surgery, last_before
from mecheval_jax.interventions.capture import capture, run
from mecheval_jax.site_path import in_mixer
from mecheval_jax.tasks.geometry import geometry
from tests.support import planted_memory


def surgery_of(mixer, **options):
    subject = planted_memory.lively(mixer, **options)
    activations = capture(subject.model, subject.params, subject.batch)
    place, found = MemoryPlace(in_mixer(0, "write")), geometry(subject.task, subject.batch)
    return Surgery(subject.model, subject.params, subject.batch, place, found, activations)


def test_the_state_is_that_of_the_recurrence_with_other_values():
    """Catches a value that is changed at another token, and a transition that changes with it."""
    surgery = surgery_of("delta_net", width=32)
    at = surgery.found.position(0)
    values = surgery.values_at(at)
    np.testing.assert_allclose(surgery.state_with(values, at), surgery.state(), atol=1e-6)
    k, v, beta = (
        np.asarray(surgery.activations[in_mixer(0, name)], np.float64)
        for name in ("k", "v", "beta")
    )
    k = k / np.linalg.norm(k, axis=-1, keepdims=True)
    found = np.asarray(surgery.state_with(2 * values, at))
    for document in range(4):
        state = np.zeros((k.shape[2], k.shape[3], v.shape[3]))
        for token in range(int(last_before(surgery.found)[document]) + 1):
            value = v[document, token] * (2 if token == at[document] else 1)
            key, share = k[document, token], beta[document, token][:, None]
            error = value - np.einsum("hkv,hk->hv", state, key)
            state = state + key[:, :, None] * (share * error)[:, None]
        np.testing.assert_allclose(found[document], state, atol=1e-4)


def test_a_key_that_decays_has_turned_by_the_question():
    """Catches what is erased under the key as it was written, which is another one by then.

    In a layer of KDA each channel decays by a factor of its own.
    """
    surgery = surgery_of("kda", width=32)
    at = surgery.found.position(0)
    without = surgery.state_without(at)
    key, value = factors_of(surgery.state() - without)
    rebuilt = without + key[..., :, None] * value[..., None, :]
    np.testing.assert_allclose(rebuilt, surgery.state(), atol=1e-5)
    written = surgery.activations[in_mixer(0, "write")][np.arange(len(at)), at]
    before = factors_of(written)[0]
    cosine = (before * key).sum(-1) / np.linalg.norm(before, axis=-1) / np.linalg.norm(key, axis=-1)
    assert np.abs(cosine).min() < 0.99


def test_tokens_of_a_write():
    """Catches the value of the token before left out, which a write of Mamba-3 holds as well."""
    at = jnp.array([4, -1])
    surgery = surgery_of("mamba3", mixer_options={"head_dim": 16})
    np.testing.assert_array_equal(surgery.tokens(at), [[4, 3], [-1, -1]])
    np.testing.assert_array_equal(surgery_of("retnet").tokens(at), [[4], [-1]])


def test_documents_without_a_token_keep_their_state():
    """Catches a last token that is changed where there is none, and a state that is not put."""
    surgery = surgery_of("retnet")
    at = surgery.found.position(0).at[0].set(-1)
    without = surgery.state_without(at)
    changed = np.abs(without - surgery.state()).reshape(len(at), -1).max(axis=1) > 1e-6
    assert not changed[0]
    assert changed[1:].all()
    query = surgery.batch.query_positions[:, :1]
    tokens = surgery.batch.tokens
    before, after = (
        run(surgery.model, surgery.params, tokens, each, query)
        for each in ({}, surgery.leading_to(without))
    )
    np.testing.assert_array_equal(np.abs(after - before).max(axis=(1, 2)) > 1e-5, changed)


def test_a_layer_without_a_state_of_its_own():
    """Catches H3, which does not give its state as a site, edited."""
    with pytest.raises(UserError, match=r"layer 0 has no site state with .*\(v or x\)"):
        _ = surgery_of("h3").site
