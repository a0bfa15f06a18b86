"""The logit lens: each layer's answer is the one that its residual stream gives."""

import jax
import numpy as np

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.question import Question
from mecheval_jax.evaluation.representations.logit_lens import lens, lens_rows, weighted_medians
from mecheval_jax.interventions.capture import observe
from mecheval_jax.models.language_model import LanguageModel
from tests.support import planted

DOCUMENTS = 24


# Catches a lens without the final norm, at another position than the query, or whose rank is off
# by one: every layer against the norm and head written out in NumPy.
def test_the_lens_against_its_twin():
    config, params, task = planted.lively("attention", layers=2)
    batch = planted.documents(task, DOCUMENTS)
    model = LanguageModel(config)
    asked = jax.jit(lambda params, batch: lens(Question(model, params, batch)))
    found = jax.device_get(asked(params, batch))
    _, activations = jax.jit(lambda p: observe(model, p, batch.tokens))(params)
    streams = [activations["embedding"]]
    streams += [activations[f"block_{layer}/block_output"] for layer in range(2)]
    query, answer = np.asarray(batch.query_positions[:, 0]), np.asarray(batch.targets[:, 0])
    table = np.asarray(params["token_embedding"]["embedding"], np.float64)
    norm = {name: np.asarray(leaf) for name, leaf in params["output_norm"].items()}
    rows = np.arange(DOCUMENTS)
    for index, stream in enumerate(streams):
        r = np.asarray(stream, np.float64)[rows, query]
        centred = r - r.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        logits = (scaled * norm["scale"] + norm["bias"]) @ table.T
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        right = logits[rows, answer]
        np.testing.assert_allclose(found["probability"][index], p[rows, answer], rtol=1e-3)
        np.testing.assert_array_equal(found["rank"][index], (logits >= right[:, None]).sum(axis=1))


# Catches rows in the wrong order or of the wrong metric: the induction model writes its answer
# in layer 1, and knows nothing of it before.
def test_the_answer_appears_where_it_is_written():
    config, params, task = planted.induction()
    batch = planted.documents(task, DOCUMENTS)
    evaluation = EvaluationConfig(documents=DOCUMENTS, resamples=200)
    rows = list(lens_rows(planted.subject_of((config, params, task), batch, evaluation)))
    assert len(rows) == 9
    values = {(row["site"], row["metric"]): row for row in rows}
    for site in ("embedding", "block_0/block_output"):
        assert values[site, "probability"]["value"] < 0.1
        assert values[site, "rank"]["value"] > 1
    last = "block_1/block_output"
    assert values[last, "probability"]["low"] > 0.9
    assert values[last, "rank"]["value"] == values[last, "rank"]["high"] == 1
    assert values[last, "accuracy"]["value"] == 1
    assert values[last, "accuracy"]["low"] < 0.9  # Wilson's interval of so few documents
    for row in rows:
        assert row["low"] <= row["value"] <= row["high"]
        assert (row["role"], row["documents"]) == ("query", DOCUMENTS)


# Catches a rank below the best one, and an interval that no rank or probability can have.
def test_logits_that_are_no_numbers_have_no_rank():
    config, params, task = planted.induction()
    batch = planted.documents(task, 6)
    evaluation = EvaluationConfig(documents=6, resamples=200)
    rows = list(lens_rows(planted.subject_of((config, params, task), batch, evaluation)))
    for metric, (least, most) in {
        "rank": (1, config.vocabulary_size),
        "probability": (0, 1),
    }.items():
        for row in (one for one in rows if one["metric"] == metric):
            assert least <= row["low"] <= row["high"] <= most
    broken = jax.tree.map(lambda leaf: leaf * np.nan, params)
    found = list(lens_rows(planted.subject_of((config, broken, task), batch, evaluation)))
    ranks = [row for row in found if row["metric"] == "rank"]
    assert [(row["value"], row["low"], row["high"]) for row in ranks] == [(None,) * 3] * 3


# Catches a median of the weights' order instead of the values'.
def test_weighted_medians():
    values = np.array([9.0, 1.0, 4.0])
    weights = np.array([[1, 1, 1], [0, 3, 0], [2, 1, 0], [1, 2, 0]]) / 3
    np.testing.assert_array_equal(weighted_medians(values, weights), [4, 1, 9, 1])
