"""Linear probes against SciPy's: what they can read, and what they cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special

from mecheval_jax.evaluation.representations.linear_probes import (
    fit_classifiers,
    fit_codes,
    random_codes,
)

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


SEARCH = {"maxiter": 5000, "maxfun": 10000, "gtol": 1e-9, "ftol": 1e-14}


def twin(x, y, fitted, classes=CLASSES):
    """Loss and predictions of a single regression, by SciPy, in float64."""
    mean, deviation = x[fitted].mean(axis=0), x[fitted].std(axis=0)
    x = (x - mean) / np.where(deviation > 0, deviation, 1)

    def loss(flat):
        weights, bias = np.split(flat.reshape(-1, classes), [-1])
        logits = (x @ weights + bias)[fitted]
        log_p = logits - scipy.special.logsumexp(logits, axis=1, keepdims=True)
        error = np.exp(log_p) - np.eye(classes)[y[fitted]]
        gradient = np.concatenate([x[fitted].T @ error, error.sum(axis=0, keepdims=True)])
        gradient /= len(error)
        gradient[:-1] += RIDGE * weights
        cross_entropy = -log_p[np.arange(len(error)), y[fitted]].mean()
        return cross_entropy + RIDGE / 2 * (weights**2).sum(), gradient.ravel()

    found = scipy.optimize.minimize(
        loss, np.zeros((x.shape[1] + 1) * classes), jac=True, method="L-BFGS-B", options=SEARCH
    )
    weights, bias = np.split(found.x.reshape(-1, classes), [-1])
    return found.fun, (x @ weights + bias).argmax(axis=1)


# Catches a penalty on the bias, a mean over all documents instead of the fitted ones, weights that
# leak between sites or labellings, and a search that stops before the minimum.
def test_classifiers_against_their_twin():
    x, labels, fitted = planted_features()
    found, losses = fit_planted()
    for site in range(len(x)):
        for labelling in range(len(labels)):
            loss, predicted = twin(x[site], labels[labelling], fitted)
            np.testing.assert_allclose(losses[site, labelling], loss, atol=1e-4)
            agreement = (found[site, labelling] == predicted).mean()
            assert agreement > 0.97, (site, labelling, agreement)


# Catches classes without a training document that hold a fit back from the minimum of the others,
# more channels than documents, and a site without documents that spoils those beside it.
def test_few_documents_of_many_classes():
    draw = np.random.default_rng(2)
    classes, width = 40, 300
    labels = draw.integers(0, classes, DOCUMENTS)
    fitted = (np.arange(DOCUMENTS) < FITTED) & (labels >= 10)
    x = draw.normal(size=(2, DOCUMENTS, width))
    training = np.stack([fitted, np.zeros_like(fitted)])
    found, losses = fit_classifiers(
        jnp.asarray(x, jnp.float32),
        jnp.asarray(labels[None], jnp.int32),
        jnp.asarray(training, jnp.float32),
        jnp.arange(DOCUMENTS),
        classes,
        RIDGE,
    )
    loss, predicted = twin(x[0], labels - 10, fitted, classes - 10)
    np.testing.assert_allclose(losses[0, 0], loss, atol=1e-4)
    assert (np.asarray(found[0, 0]) == predicted + 10).mean() > 0.97


# Catches a bound that float32 cannot invert, or inverts so badly that steps lead away: the fit is
# then NaN, and class 0 is read everywhere. The penalised minimum only falls with the penalty.
def test_channels_that_say_the_same():
    draw = np.random.default_rng(3)
    common = draw.normal(size=(DOCUMENTS, 1))
    x = common @ draw.normal(size=(1, 512)) + 1e-3 * draw.normal(size=(DOCUMENTS, 512))
    labels = (common[:, 0] > 0).astype(np.int32)
    training = jnp.asarray(np.arange(DOCUMENTS) < FITTED, jnp.float32)[None]
    before = np.inf
    for ridge in (1e-2, 1e-4, 1e-6, 1e-8):
        found, losses = fit_classifiers(
            jnp.asarray(x[None], jnp.float32),
            jnp.asarray(labels[None]),
            training,
            jnp.arange(DOCUMENTS),
            2,
            ridge,
        )
        assert (np.asarray(found[0, 0]) == labels)[:FITTED].mean() > 0.97, ridge
        assert losses[0, 0] < before + 1e-4, ridge
        before = losses[0, 0]


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


# Catches a penalty that rounding errors outweigh: the solution is then NaN, and class 0 is read
# everywhere. Channels behind a norm always add up to 0, so that one says what the others do.
@pytest.mark.parametrize("rank", [2, 8])
def test_codes_of_channels_that_say_the_same(rank):
    draw = np.random.default_rng(5)
    classes = 20
    codes = np.asarray(random_codes(jax.random.key(0), classes, rank))
    labels = draw.integers(0, classes, DOCUMENTS)
    x = codes[labels] @ draw.normal(size=(rank, 512))
    training = jnp.ones((1, DOCUMENTS))
    for ridge in (1e-2, 1e-6, 1e-8):
        found, losses = fit_codes(
            jnp.asarray(x[None], jnp.float32),
            jnp.asarray(labels[None], jnp.int32),
            training,
            jnp.arange(DOCUMENTS),
            jnp.asarray(codes),
            ridge,
        )
        assert np.isfinite(losses).all()
        assert (np.asarray(found[0, 0]) == labels).mean() > 0.97, ridge


# Catches features that are scaled by documents outside the fit: those without the role hold
# whatever stands at another position.
def test_documents_outside_the_fit_change_nothing():
    features, labels, fitted = planted_features()
    x = np.asarray(features[:1], np.float32)
    training = jnp.asarray(fitted, jnp.float32)[None]
    asked = np.flatnonzero(~fitted)[1:]
    wild = x.copy()
    wild[:, np.flatnonzero(~fitted)[0]] *= 1e6
    before, after = (
        fit_classifiers(
            jnp.asarray(each), jnp.asarray(labels), training, jnp.asarray(asked), CLASSES, RIDGE
        )[0]
        for each in (x, wild)
    )
    np.testing.assert_array_equal(before, after)
