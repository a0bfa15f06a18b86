"""Cross entropy and accuracy at the queries."""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.tasks.base import Batch


def query_scores(
    logits: Float[Array, "batch queries vocabulary"], batch: Batch
) -> tuple[Float[Array, "batch queries"], Float[Array, "batch queries"]]:
    """Negative log-likelihood of each answer in nats, and 1 where it is the likeliest token."""
    targets = batch.targets[..., None]
    chosen = jnp.take_along_axis(logits, targets, axis=-1)
    loss = jax.nn.logsumexp(logits, axis=-1) - chosen[..., 0]
    # argmax(logits) == target, the first of equals counting, in a form that needs no exchange
    # between devices but of the result where the vocabulary is spread over them.
    earlier = jnp.arange(logits.shape[-1])[None, None] < targets
    is_likeliest = jnp.where(earlier, logits < chosen, logits <= chosen).all(axis=-1)
    return loss, is_likeliest.astype(logits.dtype)


def weighted_mean(
    values: Float[Array, "batch queries"], weights: Float[Array, "batch queries"]
) -> Float[Array, ""]:
    """Mean over the queries that count."""
    return (values * weights).sum() / weights.sum()
