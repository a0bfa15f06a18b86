"""The logit lens (nostalgebraist 2020): the answer that the model would give after each layer.

    logits_i = head(norm(r_i)) at the query

where r_i is the residual stream after layer i, norm the final norm and head the output head. If r_i
replaces the output of the last layer, it passes through exactly these two, so the lens is an
intervention on ``block_output``, and nothing before that site is computed again.

The rank of the answer is 1 if it is the likeliest token; tokens with the same logit count half as
likelier.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float
from mecheval_jax.evaluation.question import Question
from mecheval_jax.evaluation.rows import SHARE, describe, describe_share, place_of
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.patch import pin
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.site_path import SitePath
from mecheval_jax.statistics.bootstrap import Bootstrap, Estimate
from mecheval_jax.tasks.scoring import score


def lens_sites(config: ModelConfig) -> tuple[str, ...]:
    """Sites of the lens: the embedding, and the output of every block."""
    outputs = (SitePath(layer, "block_output").path for layer in range(config.layers))
    return ("embedding", *outputs)


def lens(question: Question) -> dict[str, Float[Array, "sites documents"]]:
    """``probability``, ``rank`` and ``correct`` of the answer to query 0 at each of `lens_sites`.

    Pure and traceable.

    Args:
        question: Model, and the documents that are answered.
    """
    tokens, answer = question.batch.tokens, question.batch.targets[:, :1]
    activations = question.observe(tokens)[1]
    *before, last = lens_sites(question.model.config)
    streams = [at_positions(activations[site], question.query) for site in before]

    def read(stream: Array) -> dict[str, Array]:
        logits = question.run(tokens, pin({last: stream}, last))
        right = jnp.take_along_axis(logits[:, 0], answer, axis=-1)
        above, equal = (logits[:, 0] > right).sum(axis=-1), (logits[:, 0] == right).sum(axis=-1)
        scores = score(logits, question.batch)
        answers = {"probability": scores.probability[:, 0], "correct": scores.correct[:, 0]}
        ranks = 1 + above + (equal - 1) / 2
        return answers | {"rank": jnp.where(jnp.isnan(logits[:, 0]).any(-1), jnp.nan, ranks)}

    return jax.lax.map(read, jnp.stack([*streams, activations[last]]))


def lens_rows(subject: Subject) -> Iterator[dict[str, Any]]:
    """The long table of `lens`, one measured value a row.

    Metrics: ``probability`` of the answer, its mean; ``rank``, the median; ``accuracy``, the share
    of documents in which it is right (`tasks.scoring`). Intervals are the bootstrap's over
    documents (`statistics`), for the accuracy Wilson's.
    """
    program = jax.jit(lambda params, batch: lens(Question(subject.model, params, batch)))
    measured = jax.device_get(program(subject.params, subject.batch))
    evaluation, documents = subject.evaluation, len(subject.batch.targets)
    bootstrap = Bootstrap([documents], evaluation.resamples, evaluation.seed)
    everywhere = np.ones(documents, bool)
    ranks = (1.0, float(subject.config.vocabulary_size))
    by_site = zip(*(measured[name] for name in ("probability", "rank", "correct")), strict=True)
    for site, (probability, rank, right) in zip(lens_sites(subject.config), by_site, strict=True):
        mean = bootstrap.mean(probability, everywhere)
        # The same median of the documents as of their replicates: of an even number the lower one.
        alike = np.full((1, documents), 1 / documents)
        medians = [weighted_medians(rank, weights) for weights in (alike, bootstrap.weights)]
        median = Estimate.of_values(np.concatenate(medians), documents)
        found = {
            "probability": describe(mean, evaluation.confidence, tested=False, within=SHARE),
            "rank": describe(median, evaluation.confidence, tested=False, within=ranks),
            "accuracy": describe_share(float(right.mean()), documents, evaluation.confidence),
        }
        for metric, cell in found.items():
            numbers = {name: cell[name] for name in ("value", "low", "high")}
            place = place_of(site) | {"role": "query", "metric": metric}
            yield place | numbers | {"documents": documents}


def weighted_medians(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Smallest value that at least half of the weight does not exceed, for each row of weights.

    Args:
        values: [documents] Values.
        weights: [resamples, documents] Weights; each row adds up to 1.
    """
    order = np.argsort(values)
    reached = np.cumsum(weights[:, order], axis=1) >= 0.5 - 1e-9
    return values[order][reached.argmax(axis=1)]
