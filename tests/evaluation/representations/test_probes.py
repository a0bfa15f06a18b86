"""Linear probes: they find what is there, nothing that is not, and are what they say they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig, ProbesConfig
from mecheval_jax.evaluation.representations import probes
from mecheval_jax.evaluation.representations.probes import features_at, probe_rows
from mecheval_jax.interventions.capture import capture
from mecheval_jax.models.language_model import LanguageModel
from tests.support import planted

BATCH = 320


def rows_of(model, batch, sites, roles, **options):
    subject = planted.subject_of(model, batch, EvaluationConfig(roles=roles))
    table = pd.DataFrame(probe_rows(subject, ProbesConfig(**options), sites))
    return table.set_index(["site", "role", "target", "metric"])


def few(batch, count):
    """The first documents of a batch."""
    return jax.tree.map(lambda leaf: leaf[:count], batch)


SITES = ("block_0/block_input", "block_1/block_input")
ROLES = ("key", "value", "next_key")


# Catches activations of another position or document, labels of another role, a control that is
# fitted on the right labels, and pairs that are counted right where one half is: the induction
# model holds key and value together at the value token, from its layer 1 on.
def test_the_induction_model_holds_the_pair_at_the_value(monkeypatch):
    monkeypatch.setattr(probes, "MOST_CLASSES", 4)  # everything by codes
    model = planted.induction()
    task = model[2]
    batch = planted.documents(task, BATCH)
    table = rows_of(model, batch, SITES, ROLES)
    value = table["value"]
    assert len(table) == len(SITES) * len(ROLES) * 3 * 3
    before, after = SITES
    for site, role, target in [
        (before, "key", "key"),
        (before, "value", "value"),
        (after, "value", "value"),
        (after, "value", "key"),
        (after, "value", "pair"),
    ]:
        assert value[site, role, target, "accuracy"] > 0.9, (site, role, target)
        assert value[site, role, target, "control"] < 0.3, (site, role, target)
        assert table["low"][site, role, target, "selectivity"] > 0.5
    for site, role, target in [
        (before, "key", "value"),
        (before, "value", "key"),
        (before, "value", "pair"),
        (after, "key", "value"),
        (after, "key", "pair"),
    ]:
        assert value[site, role, target, "accuracy"] < 0.3, (site, role, target)
    without_next_key = int((np.asarray(batch.roles["next_key"][:, 0]) < 0).sum())
    tested = table["documents"].xs("accuracy", level="metric")
    assert set(tested[:, "value"]) == {80}
    assert without_next_key > 0
    assert all(tested[:, "next_key"] < 80)
    assert set(table["classes"].xs("pair", level="target")) == {64}


# Catches classes of pairs that coincide: 64 of them, by classification.
def test_pairs_as_classes():
    model = planted.induction()
    task = model[2]
    batch = planted.documents(task, BATCH)
    table = rows_of(model, batch, SITES, ROLES, targets=("pair",))
    scores = table["value"].unstack("metric")
    before, after = (scores.loc[(site, "value", "pair")] for site in SITES)
    assert before["accuracy"] < 0.3
    assert after["accuracy"] > 0.9
    assert after["control"] < 0.15


# Catches a role that is gathered at another role's position, and documents in another order.
def test_features():
    config, params, task = planted.lively("attention", layers=1)
    batch = few(planted.documents(task, BATCH), 7)
    model, site = LanguageModel(config), "block_0/mixer/pattern"
    subject = planted.subject_of(
        (config, params, task), batch, EvaluationConfig(roles=("value", "key"))
    )
    found = features_at(subject, (site, "block_0/mlp_output"))
    look = jax.jit(lambda params: capture(model, params, batch.tokens))
    activations = look(params)
    for path, features in found.items():
        for index, role in enumerate(("value", "key")):
            positions = np.asarray(batch.roles[role][:, 0])
            expected = np.asarray(activations[path])[np.arange(7), positions].reshape(7, -1)
            np.testing.assert_allclose(features[index], expected, atol=1e-5)


# Catches numbers where there is nothing: a role that no document has.
def test_a_role_that_is_nowhere(monkeypatch):
    monkeypatch.setattr(probes, "MOST_CLASSES", 4)
    model = planted.induction()
    task = model[2]
    batch = planted.documents(task, BATCH)
    nowhere = jnp.full_like(batch.roles["next_key"], -1)
    batch = batch.replace(roles=batch.roles | {"next_key": nowhere})
    table = rows_of(model, batch, SITES, ROLES).reset_index()
    rows = table[table["role"] == "next_key"]
    assert rows["value"].isna().all()
    assert set(rows["documents"]) == {0}
    assert table[table["role"] == "key"]["value"].notna().all()


# Catches an error about shapes where no first query has what is asked for.
def test_a_target_that_is_nowhere():
    model = planted.induction()
    batch = planted.documents(model[2], 16)
    nowhere = jnp.full_like(batch.roles["next_key"], -1)
    batch = batch.replace(roles=batch.roles | {"next_key": nowhere})
    with pytest.raises(UserError, match="'next_key': no document has it at its first query"):
        rows_of(model, batch, SITES, ("value",), targets=("next_key",))


# Catches a value that is asked of documents which have a key alone, and of those with neither.
def test_targets_that_documents_have(monkeypatch):
    monkeypatch.setattr(probes, "MOST_CLASSES", 4)
    model = planted.induction()
    batch = planted.documents(model[2], 32)
    without = {name: at for name, at in batch.roles.items() if name != "value"}
    table = rows_of(model, batch.replace(roles=without), SITES[:1], ("key",)).reset_index()
    assert set(table["target"]) == {"key"}
    neither = {"query": batch.roles["query"]}
    with pytest.raises(UserError, match="documents have neither: name others"):
        rows_of(model, batch.replace(roles=neither), SITES[:1], ("query",))


# Catches mistakes that surface as shapes, or not at all.
@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ({"sites": ["block_2/block_input"]}, {}, "unknown site 'block_2/block_input'"),
        ({"roles": ("valu",)}, {}, "did you mean 'value'"),
        ({}, {"targets": ("kye",)}, "did you mean 'key'"),
        ({}, {"targets": ("bos",)}, "'bos'.*same token in all documents"),
        ({}, {"targets": ()}, "targets is empty"),
        ({}, {"test_share": 0.01}, "16 documents.*0.01"),
        ({}, {"test_share": 1.0}, "test_share is 1.0"),
        ({}, {"ridge": 0.0}, "ridge is 0.0"),
    ],
)
def test_bad_requests(arguments, options, message):
    model = planted.induction()
    task = model[2]
    batch = few(planted.documents(task, BATCH), 16)
    places = {"sites": SITES, "roles": ("value",)} | arguments
    with pytest.raises(UserError, match=message):
        rows_of(model, batch, **places, **options)
