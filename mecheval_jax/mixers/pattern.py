"""From scores to what heads read: the softmax over tokens, through its sites.

    pattern[t] = softmax over visible s of scores[t, s],    o[t] = sum_s pattern[t, s] v[s]

Sites have the axes [batch, length, heads, source], like all others an axis 1 of positions. Decays
of scores, l[t] at each token and for each head, add sum_{s < r <= t} l[r] to scores[t, s].
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.ops.precision import widened

SITES = {
    "scores": "scores [batch, length, heads, source] before masking",
    "pattern": "attention weights [batch, length, heads, source]",
    "head_output": "output of each head, before the output projection",
}


def read_values(
    mixer: nn.Module,
    scores: Float[Array, "batch heads length source"],
    values: Float[Array, "batch source shared channels"],
    distance: Int[Array, "batch length source"],
    window: int = 0,
) -> Float[Array, "batch length heads channels"]:
    """What heads read, through the sites of the mixer.

    Args:
        mixer: Mixer that owns `SITES`.
        scores: Scores of all pairs.
        values: Values of the sources, which several heads may share.
        distance: Number of tokens that a source stands back; negative for an invisible one.
        window: Number of tokens that are visible, the current one included; 0 for all.
    """
    scores = _rows(mixer.scores(_rows(scores)))
    visible = distance >= 0
    if window:
        visible &= distance < window
    visible = visible[:, None]
    if mixer.scores.replaced():  # a score of minus infinity cuts an edge
        visible &= scores > -jnp.inf
    # Below every score: beside the reference's -10,000 a visible score of -20,000 would not count.
    masked = jnp.finfo(scores.dtype).min
    pattern = jax.nn.softmax(jnp.where(visible, scores, masked), axis=-1)
    if mixer.scores.replaced():  # a token whose edges are all cut reads nothing
        pattern = jnp.where(visible, pattern, 0)
    pattern = _rows(mixer.pattern(_rows(pattern)))
    values = repeated(values, pattern.shape[1])
    return mixer.head_output(jnp.einsum("bhls,bshd->blhd", pattern, values))


def repeated(
    h: Float[Array, "batch length shared channels"], heads: int
) -> Float[Array, "batch length heads channels"]:
    """Keys or values that several heads share, once for each of the `heads`."""
    return jnp.repeat(h, heads // h.shape[2], axis=2)


def summed_decays(
    log_decay: Float[Array, "batch length heads"], positions: Int[Array, "batch queries"] | None
) -> Float[Array, "batch heads queries length"]:
    """Sums of logarithms of decays after each source up to each query, in float32 or wider.

    Each is summed on its own: a difference of two running sums would lose all digits beside a
    decay of almost 0, and be NaN beside one of 0. Sources after the query have 0.
    """
    index = jnp.arange(log_decay.shape[1])[None]
    queries = index if positions is None else positions
    passed = (index[:, None] <= queries[..., None])[:, None]
    by_source = jnp.moveaxis(widened(log_decay), 1, 2)[:, :, None]
    sums = jax.lax.cumsum(jnp.where(passed, by_source, 0), axis=3, reverse=True)
    return jnp.pad(sums[..., 1:], [(0, 0)] * 3 + [(0, 1)])


def _rows(scores: Array) -> Array:
    """Swap [batch, heads, length, source] and [batch, length, heads, source], as sites have it."""
    return jnp.swapaxes(scores, 1, 2)
