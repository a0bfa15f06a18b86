"""What an answer is worth: the one place where logits become scores.

With z the logits at a query and a the answer,

    probability p = exp(z_a) / sum_i exp(z_i)      loss = -log p, in nats
    logit = z_a - mean_i z_i                       correct: no token is likelier than a

Training, the interchange grid, controls, lens and accuracy all read these.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float
from mecheval_jax.tasks.base import Batch

MEASURES = ("probability", "logit")
"""Scores that tell how far an intervention moves the answer."""


@flax.struct.dataclass
class AnswerScores:
    """Scores of answers; a compiled program computes only those that are read.

    Attributes:
        loss: negative log-likelihood of each answer in nats.
        probability: that the model gives it.
        logit: the answer's logit less the mean logit.
        correct: 1 where the answer is the likeliest token, the first of equals, 0 elsewhere.
    """

    loss: Float[Array | np.ndarray, "*members batch queries"]
    probability: Float[Array | np.ndarray, "*members batch queries"]
    logit: Float[Array | np.ndarray, "*members batch queries"]
    correct: Float[Array | np.ndarray, "*members batch queries"]


def score(logits: Float[Array, "batch queries vocabulary"], batch: Batch) -> AnswerScores:
    """Score the answers to the queries of documents, or to the first ones of them.

    Args:
        logits: at as many queries of each document as are scored.
        batch: Documents with their answers.
    """
    targets = batch.targets[:, : logits.shape[1], None]
    chosen = jnp.take_along_axis(logits, targets, axis=-1)
    highest = jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
    normalizer = jnp.log(jnp.exp(logits - highest).sum(axis=-1))
    log_probability = (chosen - highest)[..., 0] - normalizer
    # argmax(logits) == target, the first of equals counting, in a form that needs no exchange
    # between devices but of the result where the vocabulary is spread over them.
    earlier = jnp.arange(logits.shape[-1])[None, None] < targets
    is_likeliest = jnp.where(earlier, logits < chosen, logits <= chosen).all(axis=-1)
    return AnswerScores(
        loss=-log_probability,
        probability=jnp.exp(log_probability),
        logit=chosen[..., 0] - logits.mean(axis=-1),
        correct=is_likeliest.astype(logits.dtype),
    )


def weighted_mean(
    values: Float[Array, "batch queries"], weights: Float[Array, "batch queries"]
) -> Float[Array, ""]:
    """Mean over the queries that count."""
    return (values * weights).sum() / weights.sum()
