"""Replacement of tokens by others of their class, where a class is any set of tokens."""

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
    """Replace one token of each document by another token of a class, uniformly.

    Traceable; the class is a constant of the program.

    Args:
        key: Random key.
        tokens: Tokens of the documents.
        positions: Position of the token in each document; none is replaced where it is `ABSENT`.
        ids: Ids of the class in rising order, at least two. The original token need not be one.
    """
    table = jnp.asarray(ids, jnp.int32)
    originals = jnp.take_along_axis(tokens, positions[:, None], axis=1)[:, 0]
    rank = jnp.searchsorted(table, originals)
    known = table[jnp.minimum(rank, len(ids) - 1)] == originals
    draws = jax.random.randint(key, positions.shape, 0, len(ids) - known)
    replacements = table[draws + (known & (draws >= rank))]
    return replace_at(tokens, positions, replacements)
