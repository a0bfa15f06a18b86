"""Effective attention: the matrices of every mixer give back what the mixer read."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.representations.effective_attention import (
    attention_rows,
    effective_attention,
    reduce_heads,
)
from mecheval_jax.interventions.capture import capture
from tests.support import planted, planted_memory
from tests.support.mixing import DOCUMENTS, LENGTH, MIXERS, measured


# Catches an image that adds channels up, where opposite signs would cancel, or mixes up heads.
def test_images():
    found, _, _ = measured()
    attention, mamba = (found[MIXERS.index(name)] for name in ("attention", "mamba"))
    pattern = np.asarray(reduce_heads(attention))
    np.testing.assert_array_equal(pattern, attention.matrices)
    np.testing.assert_allclose(pattern.sum(axis=-1), 1, atol=1e-5)
    seen = np.asarray(reduce_heads(mamba))
    assert seen.shape == (DOCUMENTS, 1, LENGTH, LENGTH)
    channels = np.asarray(mamba.matrices)[1, :, 5, 2]
    np.testing.assert_allclose(seen[1, 0, 5, 2], np.sqrt(np.mean(channels**2)), rtol=1e-5)


# Catches a made-up matrix where there can be none, and an index that wraps round.
def test_mixers_and_layers_without_matrices():
    config, params, _ = planted.untrained("lstm", layers=1)
    with pytest.raises(UserError, match=r"LSTM has no effective attention.*Mamba2"):
        effective_attention(config, params, {}, 0)
    with pytest.raises(UserError, match="layer -1: the model has layers 0 to 0"):
        effective_attention(config, params, {}, -1)


@pytest.mark.parametrize(
    ("heads", "titles"),
    [
        (1, ["layer 0, step 0", "layer 0, step 1"]),
        (2, [f"layer 0, head {head}, step {step}" for head in range(2) for step in range(2)]),
    ],
)
def test_steps_of_a_head_are_no_heads(heads, titles):
    """Catches two steps that stand in the table as two heads, and those of one head apart."""
    options = {"heads": heads, "steps": 2}
    subject = planted_memory.lively("gated_delta_product", mixer_options=options)
    rows = list(attention_rows(subject))
    assert list(dict.fromkeys(row["matrix"] for row in rows)) == titles
    tokens = subject.batch.tokens[:1]
    activations = capture(subject.model, subject.params, tokens)
    mixing = effective_attention(subject.config, subject.params, activations, 0)
    assert mixing.read().shape[2] == heads
    for title, matrix in zip(titles, mixing.matrices[0], strict=True):
        entries = [row["value"] for row in rows if row["matrix"] == title]
        expected = np.asarray(matrix)[np.tril_indices(len(matrix))]
        np.testing.assert_allclose(entries, expected, rtol=1e-4, atol=1e-6)
