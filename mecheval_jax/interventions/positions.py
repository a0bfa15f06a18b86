"""Where an intervention acts: positions of each document, by role, index or mask.

Rewrites take *positions* in one of four forms:

* one a document ``[batch]``, or several ``[batch, chosen]``; a negative one means none;
* a mask ``[batch, length]``;
* None for everywhere.

Documents meet at *places*: column j of the positions of each (the role that it stands for,
wherever a document has it), or without columns the same position of each.
"""

import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Int, Shaped
from mecheval_jax.errors import UserError, choose
from mecheval_jax.tasks.base import ABSENT, Batch

Columns = Int[Array, " batch"] | Int[Array, "batch chosen"]
"""Positions of each document."""

Positions = Columns | Bool[Array, "batch length"] | None
"""Any of the forms."""

LISTED = 10
"""Documents that an error names."""


def locate(
    batch: Batch,
    *where: str | int | np.integer | Columns | Bool[Array, "batch length"],
    query: int = 0,
    skip_absent: bool = False,
) -> Int[Array, "batch chosen"] | Bool[Array, "batch length"]:
    """Positions in the documents of a batch, checked; call it outside `jax.jit`.

    Args:
        batch: the documents.
        where: names of roles, indices from 0, or positions of each document, which become
            columns; or one mask.
        query: the query whose roles are meant.
        skip_absent: whether a document without such a position is left alone there.

    Raises:
        UserError: an unknown role or query, a mask among columns, or positions that do not exist in
            some documents and are not to be skipped; the message lists these.
    """
    queries = batch.query_positions.shape[1]
    if not 0 <= query < queries:
        raise UserError(f"query {query}: these documents have queries 0 to {queries - 1}")
    masks = [_is_mask(one) for one in where]
    if any(masks):
        if len(where) > 1:
            raise UserError(f"a mask stands alone: {len(where)} kinds of positions are given")
        if where[0].shape != batch.tokens.shape:
            raise UserError(
                f"the mask is {list(where[0].shape)}, the documents {list(batch.tokens.shape)}"
            )
        outside = np.asarray(where[0]) & ~np.asarray(inside(batch))
        _refuse("a selected position", outside.any(axis=1))
        return where[0]
    found = []
    for one in where:
        if isinstance(one, str):
            name = f"role {one!r}"
            positions = batch.roles[choose("role", one, batch.roles)][:, query, None]
        elif isinstance(one, int | np.integer):
            name, positions = f"position {one}", jnp.full((len(batch.lengths), 1), one)
        else:
            name, positions = "a position", columns(one)
            if len(positions) != len(batch.lengths):
                raise UserError(f"{len(positions)} positions for {len(batch.lengths)} documents")
        absent = (positions < 0) | (positions >= batch.lengths[:, None])
        if not skip_absent:
            _refuse(name, np.asarray(absent).any(axis=1))
        found.append(jnp.where(absent, ABSENT, positions))
    if not found:
        raise UserError("no positions: name roles, indices or a mask")
    return jnp.concatenate(found, axis=1)


def inside(batch: Batch) -> Bool[Array, "batch length"]:
    """The mask of all tokens before the padding."""
    return jnp.arange(batch.tokens.shape[1])[None] < batch.lengths[:, None]


def _is_mask(one) -> bool:
    return not isinstance(one, str | int | np.integer) and one.dtype == bool


def _refuse(name: str, missing: np.ndarray) -> None:
    documents = np.flatnonzero(missing)
    if len(documents):
        listed = ", ".join(map(str, documents[:LISTED])) + (", ..." * (len(documents) > LISTED))
        raise UserError(
            f"{name} does not exist in {len(documents)} of {len(missing)} documents: {listed} "
            "(skip_absent=True leaves them alone)"
        )


def positions_mask(
    positions: Columns | Bool[Array, "batch length"], length: int, dimensions: int
) -> Bool[Array, "batch length ..."]:
    """True at the chosen positions of each document; a negative position chooses nothing.

    Args:
        positions: one position a document, or several, or a mask.
        length: tokens of the documents.
        dimensions: of the activation; trailing axes of size 1 are added.
    """
    if positions.dtype == bool:
        mask = positions
    else:
        chosen = columns(positions)
        mask = (jnp.arange(length)[None, :, None] == chosen[:, None, :]).any(axis=-1)
    return mask.reshape(*mask.shape, *(1,) * (dimensions - 2))


def columns(positions: Columns) -> Int[Array, "batch chosen"]:
    """Positions with an axis of columns, if there is one only as well."""
    return positions.reshape(positions.shape[0], -1)


def as_computed(
    positions: Columns,
    query: Int[Array, "batch 1"],
    activation: Shaped[Array, "batch length ..."],
) -> Int[Array, "batch chosen"]:
    """Positions in an activation of a run that may have computed it at the query alone.

    Args:
        positions: Positions in the documents.
        query: Where the run was read, the only place of a site after the last mixer
            (``skip_unread``).
        activation: The activation, whose length tells.
    """
    if activation.shape[1] > 1:
        return columns(positions)
    return jnp.where(columns(positions) == query, 0, ABSENT)


def gather(
    activation: Shaped[Array, "batch length ..."], positions: Positions
) -> tuple[Shaped[Array, "batch places ..."], Bool[Array, "batch places"]]:
    """The activation at each place, and which documents have it."""
    if positions is None:
        return activation, jnp.ones(activation.shape[:2], bool)
    if positions.dtype == bool:
        return activation, positions
    chosen = columns(positions)
    index = jnp.maximum(chosen, 0).reshape(*chosen.shape, *(1,) * (activation.ndim - 2))
    return jnp.take_along_axis(activation, index, axis=1), chosen >= 0


def scatter(
    values: Shaped[Array, "batch places ..."], positions: Positions, length: int
) -> Shaped[Array, "batch length ..."]:
    """Values of places where the documents have them; what stands elsewhere has no meaning."""
    if positions is None or positions.dtype == bool:
        return values
    chosen = columns(positions)[:, None]
    column = (jnp.arange(length)[None, :, None] == chosen).argmax(axis=-1)
    index = column.reshape(*column.shape, *(1,) * (values.ndim - 2))
    return jnp.take_along_axis(values, index, axis=1)
