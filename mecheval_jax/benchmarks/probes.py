"""Benchmark of linear probes, as one program and in a loop."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array
from mecheval_jax.benchmarks.measured import Measured, ratio, times
from mecheval_jax.evaluation.representations.linear_probes import (
    fit_classifiers,
    fit_codes,
    random_codes,
)

PROBES, DOCUMENTS, WIDTH = 1000, 2048, 64
ASKED = np.arange(DOCUMENTS * 3 // 4, DOCUMENTS, dtype=np.int32)
"""Indices of the held-out documents."""
LOOPED = 50
"""Number of probes that the loop fits; the time for all is extrapolated from it."""
CLASSES = (32, 1024)


def probes() -> Iterator[Measured]:
    """Times of a thousand probes as one program, and in a loop over probes.

    The time of the loop is that of `LOOPED` probes, times `PROBES` / `LOOPED`. Three quarters of
    the documents are for fitting.
    """
    for classes in CLASSES:
        features, labels, training = _noisy(classes)
        codes = random_codes(jax.random.key(1), classes, WIDTH)

        def fit(
            features: Array, training: Array, labels: Array = labels, codes: Array = codes
        ) -> Any:
            arguments = (features, labels, training, jnp.asarray(ASKED))
            if len(codes) > CLASSES[0]:
                return fit_codes(*arguments, codes)
            return fit_classifiers(*arguments, len(codes))

        def loop(
            fit: Callable = fit, features: Array = features, training: Array = training
        ) -> list:
            return [fit(features[i : i + 1], training[i : i + 1]) for i in range(LOOPED)]

        kind = "onto codes" if classes > CLASSES[0] else "logistic"
        name = f"{classes:,} classes, width {WIDTH}, {kind}"
        call = functools.partial(fit, features, training)
        together = times(name, "one program", call, repeats=1)
        apart = times(name, "loop", loop, repeats=1, per=LOOPED / PROBES)
        yield from (together, apart, ratio(apart, together))


def _noisy(classes: int) -> tuple[Array, Array, Array]:
    """Features with increasing noise from probe to probe, labels, and weights of documents."""
    centres, noise, draw = jax.random.split(jax.random.key(0), 3)
    labels = jax.random.randint(draw, (1, DOCUMENTS), 0, classes)
    signal = jax.random.normal(centres, (classes, WIDTH))[labels]
    scale = jnp.linspace(0.5, 8, PROBES)[:, None, None]
    features = signal + scale * jax.random.normal(noise, (PROBES, DOCUMENTS, WIDTH))
    fitted = (jnp.arange(DOCUMENTS) < ASKED[0]).astype(features.dtype)
    return features, labels, jnp.broadcast_to(fitted, features.shape[:2])
