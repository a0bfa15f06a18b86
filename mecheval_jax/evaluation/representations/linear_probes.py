"""Linear probes, many at once: what linear maps can read off activations.

Up to `MOST_CLASSES` classes a probe is a multinomial logistic regression, the minimum of

    L(W, b) = mean cross-entropy of softmax(W x + b) + ridge / 2 |W|^2

over the training documents. Its Hessian is nowhere above B = X'X / 2 + ridge (Boehning 1992, X'X
the features' covariance), a matrix that is the same for every class and weight. Newton steps with B
in place of the Hessian need one factorization and no line search; Nesterov's momentum, begun anew
where it leads uphill (O'Donoghue and Candes 2015), makes them few. A class without a training
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

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int, Key, Scalar

MOST_CLASSES = 128
"""Number of classes above which a probe regresses onto codes."""
CHUNK = 8
"""Number of sites whose probes are fitted together."""
STEPS = 1000
"""Greatest number of steps of a logistic regression."""
TOLERANCE = 1e-3
"""Norm of the gradient below which a fit ends.

L is then at most its square / (2 ridge) above the minimum.
"""
JITTER = 1e-6
"""Share of the trace of B that is added to its diagonal, so that float32 can invert it."""


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
        x = jnp.concatenate([x, jnp.ones_like(x[:, :1])], axis=1)
        penalty = jnp.full((x.shape[1], 1), ridge, x.dtype).at[-1].set(0)  # none of the bias
        bound = jnp.matmul(x.T, share * x, precision="highest") / 2 + jnp.diag(penalty[:, 0])
        # B stays a bound with more on its diagonal; steps become only shorter.
        inverse = jnp.linalg.inv(bound + JITTER * jnp.trace(bound) * jnp.eye(len(bound)))

        def fit(labels: Array) -> tuple[Array, Array]:
            target = share * jax.nn.one_hot(labels, classes, dtype=x.dtype)
            absent = jnp.where(target.sum(axis=0, keepdims=True) > 0, 0, -jnp.inf)

            def gradient(weights: Array) -> Array:
                predicted = share * jax.nn.softmax(x @ weights + absent)
                return x.T @ (predicted - target) + penalty * weights

            fitted = _minimize(gradient, inverse, jnp.zeros((x.shape[1], classes), x.dtype))
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
    and minima are those of the penalised mean squared error.
    """

    def at_site(x: Array, share: Array) -> tuple[Array, Array]:
        penalty = ridge * jnp.eye(x.shape[1], dtype=x.dtype)
        factor = jax.scipy.linalg.cho_factor(x.T @ (share * x) + penalty)

        def fit(labels: Array) -> tuple[Array, Array]:
            targets = codes[labels]
            mean = (share * targets).sum(axis=0, keepdims=True)  # the features' means are 0
            fitted = jax.scipy.linalg.cho_solve(factor, x.T @ (share * (targets - mean)))
            read = x @ fitted + mean
            loss = (share * (read - targets) ** 2).sum() + ridge * (fitted**2).sum()
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
    scale = jnp.abs(x).max(axis=0, keepdims=True)
    return jnp.where(deviation > 1e-5 * scale, centred / jnp.maximum(deviation, 1e-30), 0)


def _minimize(
    gradient: Callable[[Array], Array],
    inverse: Float[Array, "width width"],
    start: Float[Array, "width classes"],
) -> Float[Array, "width classes"]:
    """The minimum of a convex function.

    Args:
        gradient: Gradient of the function.
        inverse: Inverse of a bound of its Hessian, the same for each class.
        start: Weights to start from.
    """

    def step(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        count, _, weights, ahead, momentum = carry
        slope = gradient(ahead)
        # Tensor cores round the inverse of an ill-conditioned bound too much, and steps diverge.
        found = ahead - jnp.matmul(inverse, slope, precision="highest")
        uphill = (slope * (found - weights)).sum() > 0
        momentum = jnp.where(uphill, 1, momentum)
        following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        ahead = found + (momentum - 1) / following * (found - weights)
        return count + 1, jnp.sqrt((slope**2).sum()), found, ahead, following

    def unfinished(carry: tuple[Array, ...]) -> Array:
        count, norm, *_ = carry
        return (count < STEPS) & (norm > TOLERANCE)

    infinite = jnp.full((), jnp.inf, start.dtype)
    first = (0, infinite, start, start, jnp.ones((), start.dtype))
    return jax.lax.while_loop(unfinished, step, first)[2]
