"""The logit lens (nostalgebraist 2020): the answer as the model would give it after each layer.

    logits_i = head(norm(r_i)) at the query

where r_i is the residual stream after layer i, norm the final norm and head the output head. Put
in place of the last layer's output, r_i takes exactly that way, so that the lens is an
intervention on ``block_output`` and nothing that precedes it is computed again.

The rank of the answer is 1 where it is the likeliest token; tokens that tie with it count as
likelier by half.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float, PyTree
from mecheval_jax.evaluation.rows import place_of
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.capture import observe, run
from mecheval_jax.interventions.patch import pin
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.site_path import SitePath
from mecheval_jax.statistics.bootstrap import Bootstrap, Estimate
from mecheval_jax.statistics.intervals import wilson
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.scoring import score


def lens_sites(config: ModelConfig) -> tuple[str, ...]:
    """Where the lens looks: the embedding, and the output of every block."""
    outputs = (SitePath(layer, "block_output").path for layer in range(config.layers))
    return ("embedding", *outputs)


def lens(
    model: LanguageModel, params: PyTree, batch: Batch
) -> dict[str, Float[Array, "sites documents"]]:
    """``probability`` and ``rank`` of the answer to query 0 at each of `lens_sites`.

    Pure and traceable.
    """
    query, answer = batch.query_positions[:, :1], batch.targets[:, 0]
    _, activations = observe(model, params, batch.tokens, positions=query, skip_unread=True)
    sites = lens_sites(model.config)
    streams = [activations[site] for site in sites[:-1]]
    streams = [at_positions(stream, query) for stream in streams] + [activations[sites[-1]]]

    def read(stream):
        patch = pin({sites[-1]: stream}, sites[-1])
        logits = run(model, params, batch.tokens, patch, query, skip_unread=True)
        right = jnp.take_along_axis(logits[:, 0], answer[:, None], axis=-1)
        above, equal = (logits[:, 0] > right).sum(axis=-1), (logits[:, 0] == right).sum(axis=-1)
        probability = score(logits, batch).probability[:, 0]
        return {"probability": probability, "rank": 1 + above + (equal - 1) / 2}

    return jax.lax.map(read, jnp.stack(streams))


def lens_rows(subject: Subject) -> Iterator[dict[str, Any]]:
    """The long table of `lens`: one measured value a row.

    Metrics: ``probability`` of the answer, its mean; ``rank``, the median; ``accuracy``, the share
    of documents in which no token is likelier. Intervals are those of a bootstrap over
    documents (`statistics`), for the accuracy Wilson's.
    """
    program = jax.jit(lens, static_argnums=0)
    measured = jax.device_get(program(subject.model, subject.params, subject.batch))
    evaluation, documents = subject.evaluation, len(subject.batch.targets)
    confidence = evaluation.confidence
    bootstrap = Bootstrap([documents], evaluation.resamples, evaluation.seed)
    everywhere = np.ones(documents, bool)
    for index, site in enumerate(lens_sites(subject.config)):
        probability, rank = (measured[name][index] for name in ("probability", "rank"))
        first = int((rank == 1).sum())
        mean = bootstrap.mean(probability, everywhere)
        medians = weighted_medians(rank, bootstrap.weights)
        median = Estimate(float(np.median(rank)), medians, documents)
        found = {
            "probability": (mean.value, mean.interval(confidence)),
            "rank": (median.value, median.interval(confidence)),
            "accuracy": (first / documents, wilson(first, documents, confidence)),
        }
        for metric, (value, (low, high)) in found.items():
            yield {
                **place_of(site),
                "role": "query",
                "metric": metric,
                "value": float(value),
                "low": low,
                "high": high,
                "documents": documents,
            }


def weighted_medians(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The least value that half of the weight does not exceed, for each row of weights.

    Args:
        values: [documents].
        weights: [resamples, documents]; each row adds up to 1.
    """
    order = np.argsort(values)
    reached = np.cumsum(weights[:, order], axis=1) >= 0.5 - 1e-9
    return values[order][reached.argmax(axis=1)]
