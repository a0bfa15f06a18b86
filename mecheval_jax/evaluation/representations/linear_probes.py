"""Linear probes, many at once: what linear maps can read off activations.

Up to `MOST_CLASSES` classes a probe is a multinomial logistic regression, the minimum of

    L(W, b) = mean cross-entropy of softmax(W x + b) + ridge / 2 |W|^2

over the training documents. Its Hessian is nowhere above X'X / 2 + ridge (Boehning 1992, X'X the
features' covariance). In the basis of the eigenvectors of X'X this bound is diagonal, the same for
every class, and a Newton step with it in place of the Hessian is a division. The Hessian is mostly
far below it, so that a step trusts a share of X'X / 2; where L curves more along the step than
that, it is taken again with a greater share, which is 1 at most. Nesterov's momentum, begun anew
where it leads uphill (O'Donoghue and Candes 2015), makes steps few. A class without a training
document is left out, as its bias falls forever. With more classes there are too few documents of
each, and the probe is a ridge regression onto fixed codes, a unit vector c_y for each class y,

    min mean |W x + b - c_y|^2 + ridge |W|^2,      prediction = argmax_y c_y . (W x + b)

the class of the nearest code. It has a closed form. Codes that are themselves learned, such as
the tokens' embeddings, let it name classes of which there is no training document.

Features are centred and scaled to variance 1 by the statistics of the training documents. All
probes of one width are one program: mapped over sites, in chunks that fit the caches, and over
labellings.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int, Key, Scalar

MOST_CLASSES = 128
"""Number of classes above which a probe regresses onto codes."""
CHUNK = 8
"""Number of sites whose probes are fitted together."""
STEPS = 1000
"""Greatest number of steps of a logistic regression."""
TOLERANCE = 1e-6
"""Fall of L, in nats, of which a fit ends when a step promises less.

L is then mostly within 1e-4 of its minimum.
"""
NOISE = 1e-6
"""Share of the greatest eigenvalue of X'X (or of their sum) below which float32 knows none."""
SHRINK, GROW = 0.5, 1.3
"""Factors of the trusted share of X'X / 2 from step to step: at least, and of what was seen."""


Predictions = tuple[Int[Array, "sites labellings asked"], Float[Array, "sites labellings"]]
"""Predicted classes of the asked documents, and the minimum that each fit reached."""


@functools.partial(jax.jit, static_argnames="classes")
def fit_classifiers(
    features: Float[Array, "sites documents width"],
    labels: Int[Array, "labellings documents"],
    training: Float[Array, "sites documents"],
    asked: Int[Array, " asked"],
    classes: int,
    ridge: float | Scalar = 1e-2,
) -> Predictions:
    """Fit a logistic regression for every site and labelling; minima are those of L, in nats.

    Args:
        features: Activations.
        labels: Classes of the documents, from 0; every labelling is a separate set of probes.
        training: Weights of the documents for the fit, 0 for all that are not in it.
        asked: Indices of the documents whose classes are predicted.
        classes: Number of classes.
        ridge: Penalty.
    """

    def at_site(x: Array, share: Array) -> tuple[Array, Array]:
        x, curvature = _rotated(x, share)
        penalty = jnp.full((x.shape[1], 1), ridge, x.dtype).at[-1].set(0)  # none of the bias

        def fit(labels: Array) -> tuple[Array, Array]:
            target = share * jax.nn.one_hot(labels, classes, dtype=x.dtype)
            absent = jnp.where(target.sum(axis=0, keepdims=True) > 0, 0, -jnp.inf)
            fitted = _minimize(x, share, target, absent, curvature, penalty)
            logits = x @ fitted + absent
            cross_entropy = -(target * jnp.where(target > 0, jax.nn.log_softmax(logits), 0)).sum()
            loss = cross_entropy + (penalty * fitted**2).sum() / 2
            return logits[asked].argmax(axis=1).astype(labels.dtype), loss

        return jax.vmap(fit)(labels)

    return _over_sites(at_site, features, training)


@jax.jit
def fit_codes(
    features: Float[Array, "sites documents width"],
    labels: Int[Array, "labellings documents"],
    training: Float[Array, "sites documents"],
    asked: Int[Array, " asked"],
    codes: Float[Array, "classes code"],
    ridge: float | Scalar = 1e-2,
) -> Predictions:
    """Fit a regression onto codes, unit vectors of the classes, for every site and labelling.

    Other arguments are those of `fit_classifiers`. The predicted class is that of the nearest code,
    and minima are those of the penalised mean squared error. The penalty is no smaller than `NOISE`
    times the trace of the features' covariance.
    """

    def at_site(x: Array, share: Array) -> tuple[Array, Array]:
        covariance = jnp.matmul(x.T, share * x, precision="highest")
        # A smaller penalty would leave the inverse to rounding errors where channels are collinear.
        least = jnp.maximum(ridge, NOISE * jnp.trace(covariance))
        penalty = least * jnp.eye(x.shape[1], dtype=x.dtype)
        factor = jax.scipy.linalg.cho_factor(covariance + penalty)

        def fit(labels: Array) -> tuple[Array, Array]:
            targets = codes[labels]
            mean = (share * targets).sum(axis=0, keepdims=True)  # the features' means are 0
            fitted = jax.scipy.linalg.cho_solve(factor, x.T @ (share * (targets - mean)))
            read = x @ fitted + mean
            loss = (share * (read - targets) ** 2).sum() + least * (fitted**2).sum()
            return (read[asked] @ codes.T).argmax(axis=1).astype(labels.dtype), loss

        return jax.lax.map(fit, labels)

    return _over_sites(at_site, features, training)


def random_codes(key: Key, classes: int, width: int) -> Float[Array, "classes width"]:
    """Independent random directions, one for each class."""
    return unit_rows(jax.random.normal(key, (classes, width)))


def unit_rows(x: Float[Array, "rows width"]) -> Float[Array, "rows width"]:
    """Rows scaled to length 1."""
    return x / jnp.maximum(jnp.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _over_sites(
    at_site: Callable[[Array, Array], tuple[Array, Array]],
    features: Float[Array, "sites documents width"],
    training: Float[Array, "sites documents"],
) -> Predictions:
    """A function of one site, mapped over all sites in chunks.

    Args:
        at_site: Function of the standardized features of a site and the share of each document,
            [documents, 1].
        features: Activations.
        training: Weights of the documents.
    """

    def one(arguments: tuple[Array, Array]) -> tuple[Array, Array]:
        x, weights = arguments
        share = (weights / weights.sum())[:, None]
        return at_site(_standardized(x, share), share)

    return jax.lax.map(one, (features, training), batch_size=min(CHUNK, len(features)))


def _standardized(
    x: Float[Array, "documents width"], share: Float[Array, "documents 1"]
) -> Float[Array, "documents width"]:
    centred = x - (share * x).sum(axis=0, keepdims=True)
    deviation = jnp.sqrt((share * centred**2).sum(axis=0, keepdims=True))
    # A channel that does not vary carries nothing; its rounding errors must not be scaled up.
    scale = jnp.where(share > 0, jnp.abs(x), 0).max(axis=0, keepdims=True)
    return jnp.where(deviation > 1e-5 * scale, centred / jnp.maximum(deviation, 1e-30), 0)


def _rotated(
    x: Float[Array, "documents width"], share: Float[Array, "documents 1"]
) -> tuple[Float[Array, "documents width+1"], Float[Array, "width+1 1"]]:
    """Features in the basis of the eigenvectors of X'X, with a constant; and half its eigenvalues.

    The features' means are 0, so that the constant, whose own is 1, is an eigenvector as it is.
    """
    values, vectors = jnp.linalg.eigh(jnp.matmul(x.T, share * x, precision="highest"))
    values = jnp.append(jnp.maximum(values, NOISE * values.max()), 1)
    x = jnp.matmul(x, vectors, precision="highest")
    return jnp.concatenate([x, jnp.ones_like(x[:, :1])], axis=1), values[:, None] / 2


class _Search(NamedTuple):
    """The search for a minimum.

    Attributes:
        steps: Number of steps so far, those taken again as well.
        promised: Fall of L that the last step promised, by the curvature that it trusted.
        weights: Weights after the last step.
        logits: Logits that they give.
        ahead: Weights, moved on by the momentum: from there the next step leads.
        ahead_logits: Logits that these give.
        momentum: Nesterov's sequence, from 1.
        trusted: Share of the bound X'X / 2 that the next step trusts.
    """

    steps: Array
    promised: Array
    weights: Array
    logits: Array
    ahead: Array
    ahead_logits: Array
    momentum: Array
    trusted: Array


def _minimize(
    x: Float[Array, "documents width"],
    share: Float[Array, "documents 1"],
    target: Float[Array, "documents classes"],
    absent: Float[Array, "1 classes"],
    curvature: Float[Array, "width 1"],
    penalty: Float[Array, "width 1"],
) -> Float[Array, "width classes"]:
    """Weights of the minimum of a logistic regression.

    Args:
        x: Features, of which X'X is diagonal.
        share: Share of each document in the mean.
        target: One-hot labels, times the shares.
        absent: Added to logits: minus infinity for classes without a document.
        curvature: Diagonal of X'X / 2.
        penalty: Penalty of each feature.
    """

    def step(at: _Search) -> _Search:
        log_p = jax.nn.log_softmax(at.ahead_logits + absent)
        slope = x.T @ (share * jnp.exp(log_p) - target) + penalty * at.ahead
        move = -slope / (at.trusted * curvature + penalty)
        # In full precision, also on tensor cores: logits are sums of all turns so far.
        turn = jnp.matmul(x, move, precision="highest")
        weights, logits = at.ahead + move, at.ahead_logits + turn
        needed = _curved(share, log_p, jax.nn.log_softmax(logits + absent), turn)
        stays = (needed > at.trusted) & (at.trusted < 1)
        least = jnp.where(stays, 0, SHRINK * at.trusted)
        trusted = jnp.clip(GROW * needed, jnp.maximum(least, NOISE), 1)

        uphill = (slope * (weights - at.weights)).sum() > 0
        momentum = jnp.where(uphill, 1, at.momentum)
        following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        on = (momentum - 1) / following
        ahead = weights + on * (weights - at.weights)
        ahead_logits = logits + on * (logits - at.logits)

        # The promise is that of a step that was taken, since the search ends by it.
        steps, promised = at.steps + 1, -(slope * move).sum() / 2
        again = at._replace(steps=steps, trusted=trusted)
        done = _Search(steps, promised, weights, logits, ahead, ahead_logits, following, trusted)
        return jax.tree.map(functools.partial(jnp.where, stays), again, done)

    def unfinished(at: _Search) -> Array:
        return (at.steps < STEPS) & (at.promised > TOLERANCE)

    weights, logits = jnp.zeros((x.shape[1], target.shape[1]), x.dtype), jnp.zeros_like(target)
    one = jnp.ones((), x.dtype)
    first = _Search(
        jnp.zeros((), jnp.int32), jnp.inf * one, weights, logits, weights, logits, one, one
    )
    return jax.lax.while_loop(unfinished, step, first).weights


def _curved(
    share: Float[Array, "documents 1"],
    before: Float[Array, "documents classes"],
    after: Float[Array, "documents classes"],
    turn: Float[Array, "documents classes"],
) -> Float[Array, ""]:
    """The curvature of the cross-entropy along a step, as a share of that of its bound.

    Beyond its tangent the cross-entropy rises by the divergence of the predictions, the bound by a
    quarter of the squared change of the logits.

    Args:
        share: Share of each document in the mean.
        before: Logarithms of the predictions before the step.
        after: Those after it.
        turn: Change of the logits.
    """
    p = jnp.exp(before)
    rise = (share * jnp.where(p > 0, p * (before - after), 0)).sum()
    return rise / jnp.maximum((share * turn**2).sum() / 4, jnp.finfo(turn.dtype).tiny)
