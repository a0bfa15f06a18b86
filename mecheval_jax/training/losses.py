"""Cross entropy and accuracy at the queries."""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.tasks.base import Batch


def query_scores(
    logits: Float[Array, "batch queries vocabulary"], batch: Batch
) -> tuple[Float[Array, "batch queries"], Float[Array, "batch queries"]]:
    """Negative log-likelihood of each answer in nats, and 1 where it is the likeliest token."""
    chosen = jnp.take_along_axis(logits, batch.targets[..., None], axis=-1)[..., 0]
    loss = jax.nn.logsumexp(logits, axis=-1) - chosen
    return loss, (jnp.argmax(logits, axis=-1) == batch.targets).astype(logits.dtype)


def weighted_mean(
    values: Float[Array, "batch queries"], weights: Float[Array, "batch queries"]
) -> Float[Array, ""]:
    """Mean over the queries that count."""
    return (values * weights).sum() / weights.sum()
