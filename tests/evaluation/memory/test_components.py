"""Which layers bind and which read, of Transformers whose layers do what they were made for."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from mecheval_jax.evaluation.memory.components import _ablated, component_rows, components_of
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.capture import observe
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.statistics.intervals import wilson
from mecheval_jax.tasks.synthetic.compression import Compression
from tests.support import planted, planted_memory


def shapes_of(subject):
    seen = jax.eval_shape(
        lambda params: observe(subject.model, params, subject.batch.tokens)[1], subject.params
    )
    return {path: leaf.shape for path, leaf in seen.items()}


def test_layer_0_binds_and_layer_1_reads():
    """Catches masks of pair and question exchanged, and a component that is not switched off."""
    config, params, task = planted.induction()
    batch = planted.documents(task, 32)
    subject = Subject(LanguageModel(config), params, task, batch, planted_memory.EVALUATION)
    table = pd.DataFrame(component_rows(subject))
    kept = table[table["metric"] == "kept"].set_index(["component", "where", "ablation"])["value"]
    first, second = "layer 0 (Attention)", "layer 1 (Attention)"
    for how in ("zero", "mean", "resample"):
        assert kept[first, "question", how] > 0.9
        assert kept[second, "pair", how] > 0.9
        assert kept[second, "question", how] < 0.5
        assert kept[first, "everywhere", how] < 0.5
    # A mean of all keys is still nearer to the asked one than the other pairs' keys are.
    for how in ("zero", "resample"):
        assert kept[first, "pair", how] < 0.5
    assert set(table["component"]) == {first, second}
    # An accuracy has Wilson's interval: of no document or of all it is no point.
    accuracy = table[table["metric"] == "accuracy"]
    assert {0.0, 1.0} <= set(accuracy["value"])
    for value, low, high in accuracy[["value", "low", "high"]].itertuples(index=False):
        assert (low, high) == pytest.approx(wilson(value * len(batch.tokens), len(batch.tokens)))


def test_components_of_a_hybrid():
    """Catches a recurrence counted as attention, and heads of a layer that has one."""
    options = {"heads": [1, 2, 2]}
    subject = planted_memory.lively("mamba,attention,gla", layers=3, mixer_options=options)
    found = {
        component.name: component.sites
        for component in components_of(subject.config, shapes_of(subject))
    }
    output = "block_{}/mixer_output".format
    assert found == {
        "attention": (output(1),),
        "recurrent": (output(0), output(2)),
        "layer 0 (Mamba)": (output(0),),
        "layer 1 (Attention)": (output(1),),
        "layer 2 (GatedLinearAttention)": (output(2),),
        **{f"layer 1, head {head}": ("block_1/mixer/head_output",) for head in (0, 1)},
        **{f"layer 2, head {head}": ("block_2/mixer/head_output",) for head in (0, 1)},
    }


def test_heads_whose_queries_have_another_name():
    """Catches heads of RWKV-7, which calls its queries receptances, passed over."""
    subject = planted_memory.lively("rwkv7", mixer_options={"heads": 2})
    found = {component.name for component in components_of(subject.config, shapes_of(subject))}
    assert {"layer 0, head 0", "layer 0, head 1"} <= found


def test_a_document_without_a_donor_does_not_count():
    """Catches the longest document, resampled from itself, counted as one that needs no layer."""
    config, params, task = planted.induction()
    batch = planted.documents(task, 8)
    longest = batch.lengths.at[1:].add(-1)
    subject = Subject(
        LanguageModel(config), params, task, batch.replace(lengths=longest),
        planted_memory.EVALUATION,
    )  # fmt: skip
    table = pd.DataFrame(component_rows(subject))
    documents = table[table["where"] == "everywhere"].groupby("ablation")["documents"].unique()
    assert {how: [*of] for how, of in documents.items()} == {
        "zero": [8],
        "mean": [8],
        "resample": [7],
    }


def test_heads_and_documents_without_a_pair():
    """Catches one head's switch that turns off the other, and a place that is not there."""
    task = Compression(length=4, queries=2, vocabulary=4)
    subject = planted_memory.lively("attention", task, mixer_options={"heads": 2})
    table = pd.DataFrame(component_rows(subject))
    assert set(table["where"]) == {"everywhere"}
    kept = table[table["metric"] == "kept"].set_index(["component", "ablation"])["value"]
    heads = [kept[f"layer 0, head {head}", "zero"] for head in (0, 1)]
    assert not np.isclose(heads[0], heads[1], rtol=1e-3)
    assert not np.isclose(heads[0], kept["layer 0 (Attention)", "zero"], rtol=1e-3)


def test_padding_is_no_activation():
    """Catches means over what shorter documents have behind their end, and donors that are over."""
    activations = {"a": jnp.arange(4 * 3.0).reshape(4, 3, 1) + 1}
    lengths = jnp.array([3, 3, 3, 1])
    tokens = jnp.arange(3)[None] < lengths[:, None]
    ways, has_donor = _ablated(activations, ("a",), jax.random.key(0), tokens)
    _, mean, donor = ways["a"]
    np.testing.assert_array_equal(has_donor, [True, True, True, True])
    np.testing.assert_allclose(mean[:3, 2, 0], (3 + 6 + 9) / 3)
    assert (np.asarray(donor[:3, 2, 0])[:, None] == [3, 6, 9]).any(axis=1).all()
