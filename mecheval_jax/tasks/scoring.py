"""Scores of answers: the one place where logits become scores.

With z the logits at a query and a the answer,

    probability p = exp(z_a) / sum_i exp(z_i)      loss = -log p, in nats
    logit = z_a - mean_i z_i                       correct: no token is more likely than a

Training, the interchange grid, controls, lens and accuracy all use these. So do the
divergences of whole answers, KL(p || q) = sum_i p_i log(p_i / q_i).
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float
from mecheval_jax.errors import UserError
from mecheval_jax.tasks.base import Batch

MEASURES = ("probability", "logit")
"""Scores that measure how far an intervention moves the answer."""


@flax.struct.dataclass
class AnswerScores:
    """Scores of answers; a compiled program computes only the ones that are used.

    Attributes:
        loss: Negative log-likelihood of each answer, in nats.
        probability: Probability of each answer.
        logit: Logit of each answer minus the mean logit.
        correct: 1 if the answer is the most likely token (the first of ties), else 0.
    """

    loss: Float[Array | np.ndarray, "*members batch queries"]
    probability: Float[Array | np.ndarray, "*members batch queries"]
    logit: Float[Array | np.ndarray, "*members batch queries"]
    correct: Float[Array | np.ndarray, "*members batch queries"]


def score(logits: Float[Array, "batch queries vocabulary"], batch: Batch) -> AnswerScores:
    """Score the answers to all queries of documents, or to the first queries.

    Args:
        logits: Logits at the queries that are scored.
        batch: Documents with their answers.

    Raises:
        UserError: If the logits are of other documents, or of more positions than queries.
    """
    documents, queries = batch.targets.shape
    if logits.ndim != 3 or logits.shape[0] != documents or not logits.shape[1] <= queries:
        raise UserError(
            f"logits are {list(logits.shape)}: these documents have answers "
            f"[{documents} documents, {queries} queries], and a run on the batch gives their logits"
        )
    targets = batch.targets[:, : logits.shape[1], None]
    chosen = jnp.take_along_axis(logits, targets, axis=-1)
    highest = jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
    normalizer = jnp.log(jnp.exp(logits - highest).sum(axis=-1))
    log_probability = (chosen - highest)[..., 0] - normalizer
    # argmax(logits) == target with ties going to the first, in a form that exchanges only the
    # result between devices if the vocabulary is spread over them.
    earlier = jnp.arange(logits.shape[-1])[None, None] < targets
    is_likeliest = jnp.where(earlier, logits < chosen, logits <= chosen).all(axis=-1)
    return AnswerScores(
        loss=-log_probability,
        probability=jnp.exp(log_probability),
        logit=chosen[..., 0] - logits.mean(axis=-1),
        correct=is_likeliest.astype(logits.dtype),
    )


def log_probabilities(
    logits: Float[Array, "batch queries vocabulary"],
) -> Float[Array, "batch vocabulary"]:
    """Logarithms of the probabilities of all tokens at the first query."""
    return jax.nn.log_softmax(logits[:, 0], axis=-1)


def divergence(
    found: Float[Array, "batch vocabulary"], base: Float[Array, "batch vocabulary"]
) -> Float[Array, " batch"]:
    """KL(found || base) in nats of each document.

    Args:
        found: Logits. With `score` of the same logits they are exponentiated once.
        base: Log-probabilities.
    """
    shifted = found - jax.lax.stop_gradient(found.max(axis=-1, keepdims=True))
    weights = jnp.exp(shifted)
    total = weights.sum(axis=-1)
    return (weights * (shifted - base)).sum(axis=-1) / total - jnp.log(total)


def weighted_mean(
    values: Float[Array, "batch queries"], weights: Float[Array, "batch queries"]
) -> Float[Array, ""]:
    """Mean over queries by weight."""
    return (values * weights).sum() / weights.sum()


def answer_probability(
    logits: Float[Array, "batch queries vocabulary"], batch: Batch
) -> Float[Array, "batch queries"]:
    """Probability of the right answer to each query of documents.

    Args:
        logits: Logits at the queries, such as `interventions.run` gives them for a batch.
        batch: Documents with their answers.
    """
    return score(logits, batch).probability
