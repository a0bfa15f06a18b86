"""Another token of the same class, where a class is any set of tokens."""

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.tasks.base import replace_at


def replace(
    key: Key,
    tokens: Int[Array, "batch length"],
    positions: Int[Array, " batch"],
    ids: Int[np.ndarray, " ids"],
) -> Int[Array, "batch length"]:
    """Tokens with one of each document replaced by another of a class, uniformly.

    Traceable; the class is part of the program.

    Args:
        key: random key.
        tokens: of the documents.
        positions: where to replace; nothing is replaced where it is `ABSENT`.
        ids: the class in rising order, at least two. The token that is replaced need not be in it.
    """
    table = jnp.asarray(ids, jnp.int32)
    originals = jnp.take_along_axis(tokens, positions[:, None], axis=1)[:, 0]
    rank = jnp.searchsorted(table, originals)
    known = table[jnp.minimum(rank, len(ids) - 1)] == originals
    draws = jax.random.randint(key, positions.shape, 0, len(ids) - known)
    replacements = table[draws + (known & (draws >= rank))]
    return replace_at(tokens, positions, replacements)
