"""Linear probes: they find what is there, nothing that is not, and are what they say they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.special

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig, ProbesConfig
from mecheval_jax.evaluation.representations import probes
from mecheval_jax.evaluation.representations.linear_probes import (
    fit_classifiers,
    fit_codes,
    random_codes,
)
from mecheval_jax.evaluation.representations.probes import features_at, probe_rows
from mecheval_jax.interventions.capture import capture
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.statistics.intervals import difference_of_shares
from tests.support import planted

BATCH = 320
DOCUMENTS, FITTED, WIDTH, CLASSES, RIDGE = 240, 160, 6, 4, 1e-2


def planted_features():
    """Three sites: classes far apart, classes that overlap, and nothing; a channel is constant."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, CLASSES, DOCUMENTS)
    centres = draw.normal(size=(CLASSES, WIDTH))
    x = draw.normal(size=(3, DOCUMENTS, WIDTH))
    x += np.array([8.0, 1.0, 0.0])[:, None, None] * centres[labels]
    x[..., 2] = 1000.0  # a bias that floats are coarse at
    labels = np.stack([labels, draw.permutation(labels)])
    # What is not fitted must not matter: its labels are wrong, its weight is 0.
    return x, labels, np.arange(DOCUMENTS) < FITTED


def fit_planted():
    x, labels, fitted = planted_features()
    training = jnp.broadcast_to(jnp.asarray(fitted, jnp.float32), x.shape[:2])
    labels = jnp.asarray(labels, jnp.int32)
    found, losses = fit_classifiers(
        jnp.asarray(x, jnp.float32), labels, training, jnp.arange(DOCUMENTS), CLASSES, RIDGE
    )
    return np.asarray(found), np.asarray(losses)


def twin(x, y, fitted):
    """Loss and predictions of a single regression, by SciPy, in float64."""
    mean, deviation = x[fitted].mean(axis=0), x[fitted].std(axis=0)
    x = (x - mean) / np.where(deviation > 0, deviation, 1)

    def loss(flat):
        weights, bias = np.split(flat.reshape(WIDTH + 1, CLASSES), [WIDTH])
        logits = (x @ weights + bias)[fitted]
        log_p = logits - scipy.special.logsumexp(logits, axis=1, keepdims=True)
        error = np.exp(log_p) - np.eye(CLASSES)[y[fitted]]
        gradient = np.concatenate([x[fitted].T @ error, error.sum(axis=0, keepdims=True)])
        gradient /= len(error)
        gradient[:-1] += RIDGE * weights
        cross_entropy = -log_p[np.arange(len(error)), y[fitted]].mean()
        return cross_entropy + RIDGE / 2 * (weights**2).sum(), gradient.ravel()

    found = scipy.optimize.minimize(loss, np.zeros((WIDTH + 1) * CLASSES), jac=True)
    weights, bias = np.split(found.x.reshape(WIDTH + 1, CLASSES), [WIDTH])
    return found.fun, (x @ weights + bias).argmax(axis=1)


# Catches a penalty on the bias, a mean over all documents instead of the fitted ones, weights that
# leak between sites or labellings, and a search that stops before the minimum.
def test_classifiers_against_their_twin():
    x, labels, fitted = planted_features()
    found, losses = fit_planted()
    for site in range(len(x)):
        for labelling in range(len(labels)):
            loss, predicted = twin(x[site], labels[labelling], fitted)
            np.testing.assert_allclose(losses[site, labelling], loss, atol=3e-4)
            agreement = (found[site, labelling] == predicted).mean()
            assert agreement > 0.97, (site, labelling, agreement)


# Catches a probe that sees the held-out labels: separable classes are named, and where there is
# nothing to read, or the labels are shuffled, it stays at chance.
def test_classifiers_find_what_is_there():
    _, labels, fitted = planted_features()
    found, _ = fit_planted()
    accuracy = (found == labels[None])[:, :, ~fitted].mean(axis=-1)
    assert accuracy[0, 0] > 0.98
    assert 0.4 < accuracy[1, 0] < accuracy[0, 0]
    chance = [accuracy[2, 0], *accuracy[:, 1]]
    assert max(chance) < 1 / CLASSES + 0.15, chance  # 3 standard errors of 80 documents


# Catches codes that are not regressed on but classified, so that a class without a fitted document
# is never named; and a solution that is not the normal equations'.
def test_codes():
    draw = np.random.default_rng(1)
    classes, code, width = 200, 8, 12
    codes = np.asarray(random_codes(jax.random.key(0), classes, code))
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, rtol=1e-5)
    labels = draw.integers(0, classes, DOCUMENTS)
    x = codes[labels] @ draw.normal(size=(code, width)) + 3.0
    x = np.stack([x, draw.normal(size=x.shape)]) + 0.02 * draw.normal(size=(2, *x.shape))
    fitted = np.arange(DOCUMENTS) < FITTED
    labels = np.stack([labels, draw.permutation(labels)])
    training = jnp.broadcast_to(jnp.asarray(fitted, jnp.float32), x.shape[:2])
    everything = jnp.arange(DOCUMENTS)
    x32, codes32 = (jnp.asarray(a, jnp.float32) for a in (x, codes))
    labels32 = jnp.asarray(labels, jnp.int32)
    found, _ = fit_codes(x32, labels32, training, everything, codes32, RIDGE)
    found = np.asarray(found)
    accuracy = (found == labels[None])[:, :, ~fitted].mean(axis=-1)
    unseen = ~fitted & ~np.isin(labels[0], labels[0][fitted])
    assert unseen.sum() > 10
    assert (found[0, 0] == labels[0])[unseen].mean() > 0.8
    assert max(accuracy[1, 0], *accuracy[:, 1]) < 0.1
    scaled = (x[0] - x[0][fitted].mean(axis=0)) / x[0][fitted].std(axis=0)
    ones = np.concatenate([scaled, np.ones((DOCUMENTS, 1))], axis=1)
    penalty = RIDGE * FITTED * np.diag([1.0] * width + [0.0])
    moments = ones[fitted].T @ ones[fitted] + penalty
    weights = np.linalg.solve(moments, ones[fitted].T @ codes[labels[0][fitted]])
    predicted = (ones @ weights @ codes.T).argmax(axis=1)
    assert (found[0, 0] == predicted).mean() > 0.98


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


# Newcombe's example, Statistics in Medicine 17 (1998), table II: 56 of 70 against 48 of 80.
# Catches ends of the two intervals that are swapped.
def test_difference_of_shares():
    low, high = difference_of_shares((56, 70), (48, 80))
    np.testing.assert_allclose([low, high], [0.0524, 0.3339], atol=5e-5)
    assert difference_of_shares((0, 0), (1, 2)) == (-1.0, 1.0)
