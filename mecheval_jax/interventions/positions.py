"""Positions at which an intervention acts, by role, index or mask.

Interventions take *positions* in one of four forms:

* one for each document ``[batch]``, or several ``[batch, chosen]``; a negative one means none;
* a mask ``[batch, length]``;
* None for all positions.

Means, swaps and the like compare documents at *places*. A place is a column of the positions,
for example a role, which may stand elsewhere in each document; without columns it is one
position in all documents.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import ARRAYS, Array, Bool, Int, Shaped
from mecheval_jax.errors import UserError, choose, expect
from mecheval_jax.tasks.base import ABSENT, Batch

Columns = Int[Array, " batch"] | Int[Array, "batch chosen"]
"""Positions of each document."""

Positions = Columns | Bool[Array, "batch length"] | None
"""Positions in any of the four forms."""

LISTED = 10
"""Number of documents that an error names."""


def locate(
    batch: Batch,
    *where: str | int | np.integer | Columns | Bool[Array, "batch length"],
    query: int = 0,
    skip_absent: bool = False,
) -> Int[Array, "batch chosen"] | Bool[Array, "batch length"]:
    """Positions in the documents of a batch, after a check that they exist. Not traceable.

    Args:
        batch: Documents.
        where: Names of roles, indices from 0, or positions of each document, of which each
            becomes a column; or one mask.
        query: Index of the query whose roles are meant.
        skip_absent: Whether a position that a document lacks is left out instead of refused.

    Raises:
        UserError: If a role or query is unknown, a mask is combined with others, or some
            documents lack a position; the message lists these documents.
    """
    expect("the batch", batch, Batch, "documents, as Run.documents gives them")
    expect("the query", query, (int, np.integer), "the index of a query, from 0")
    queries = batch.query_positions.shape[1]
    if not 0 <= query < queries:
        raise UserError(f"query {query}: these documents have queries 0 to {queries - 1}")
    # A mask stands alone.
    arrays = [check_positions(one) for one in where if not isinstance(one, str | int | np.integer)]
    masks = [one.dtype == bool for one in arrays]
    if any(masks):
        if len(where) > 1:
            raise UserError(f"a mask stands alone: {len(where)} kinds of positions are given")
        if arrays[0].shape != batch.tokens.shape:
            raise UserError(
                f"the mask is {list(arrays[0].shape)}, the documents {list(batch.tokens.shape)}"
            )
        if skip_absent:
            return arrays[0] & inside(batch)
        outside = np.asarray(arrays[0]) & ~np.asarray(inside(batch))
        _refuse("a selected position", outside.any(axis=1))
        return arrays[0]
    # Every other kind gives columns.
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
    """Mask of all tokens before the padding."""
    return jnp.arange(batch.tokens.shape[1])[None] < batch.lengths[:, None]


def check_positions(positions: Any) -> Shaped[Array, "..."]:
    """The same positions, which have to be an array of indices, or a mask.

    Raises:
        UserError: If they are not.
    """
    takes = "an array of positions, or a mask; locate(batch, 'value') gives those of a role"
    expect("one of the positions", positions, ARRAYS, takes)
    numbers = positions.dtype == bool or jnp.issubdtype(positions.dtype, jnp.integer)
    if not numbers or not positions.ndim:
        raise UserError(f"positions are {positions.dtype}{list(positions.shape)}: give {takes}")
    # A copy of NumPy's, which its owner may go on to change.
    return positions if isinstance(positions, jax.Array) else jnp.array(positions)


def _refuse(name: str, missing: np.ndarray) -> None:
    """Raise an error if any document is missing something."""
    documents = np.flatnonzero(missing)
    if len(documents):
        listed = ", ".join(map(str, documents[:LISTED])) + (", ..." * (len(documents) > LISTED))
        raise UserError(
            f"{name} does not exist in {len(documents)} of {len(missing)} documents: {listed} "
            "(skip_absent=True leaves them alone)"
        )


def positions_mask(
    positions: Columns | Bool[Array, "batch length"], shape: tuple[int, ...]
) -> Bool[Array, "batch length ..."]:
    """True at the chosen positions of each document; a negative position chooses nothing.

    Args:
        positions: One position for each document, or several, or a mask.
        shape: Shape of the activation, [batch, length, ...]; the mask has size 1 along the axes
            after the second.

    Raises:
        UserError: If the positions are of another number of documents, or a mask of other tokens,
            or one is behind the last token.
    """
    mask = _of_documents(positions, shape)
    if mask.dtype != bool:
        chosen = columns(mask)
        mask = (jnp.arange(shape[1])[None, :, None] == chosen[:, None, :]).any(axis=-1)
    return mask.reshape(*mask.shape, *(1,) * (len(shape) - 2))


def _of_documents(
    positions: Columns | Bool[Array, "batch length"], shape: tuple[int, ...]
) -> Shaped[Array, "..."]:
    """The same positions, which have to be of the documents of an activation [batch, length, ...].

    Broadcasting would take the positions of one document for those of all, and a position behind
    the last one would choose nothing. Traced positions are not looked at.
    """
    positions = check_positions(positions)
    own = positions.shape
    if own[0] != shape[0]:
        raise UserError(f"positions of {own[0]} documents: the activations are of {shape[0]}")
    if positions.dtype == bool:
        if own != shape[:2]:
            raise UserError(f"the mask is {list(own)}, the activations {list(shape[:2])}")
    elif not isinstance(positions, jax.core.Tracer):
        beyond = np.argwhere(np.asarray(positions) >= shape[1])
        if len(beyond):
            where = tuple(beyond[0])
            raise UserError(
                f"position {positions[where]} of document {where[0]}: valid are 0 to "
                f"{shape[1] - 1}, and negative ones for none"
            )
    return positions


def columns(positions: Columns) -> Int[Array, "batch chosen"]:
    """Positions with an axis of columns, also if there is one column only."""
    return check_positions(positions).reshape(positions.shape[0], -1)


def as_computed(
    positions: Columns | Bool[Array, "batch length"],
    query: Int[Array, "batch 1"],
    activation: Shaped[Array, "batch computed ..."],
) -> Int[Array, "batch chosen"] | Bool[Array, "batch computed"]:
    """Positions in an activation of a run that may have computed it at the query alone.

    Args:
        positions: Positions in the documents, or a mask of them.
        query: Position at which the run was read. With ``skip_unread`` it is the only position
            of the last sites.
        activation: Activation, whose length tells which of the two it is.
    """
    is_mask, whole = positions.dtype == bool, activation.shape[1] > 1
    if is_mask:
        computed = activation.shape[1]
        return positions[:, :computed] if whole else jnp.take_along_axis(positions, query, axis=1)
    if whole:
        return columns(positions)
    return jnp.where(columns(positions) == query, 0, ABSENT)


def gather(
    activation: Shaped[Array, "batch length ..."], positions: Positions
) -> tuple[Shaped[Array, "batch places ..."], Bool[Array, "batch places"]]:
    """Activations at the places, and a mask of the places that each document has."""
    if positions is None:
        return activation, jnp.ones(activation.shape[:2], bool)
    if _of_documents(positions, activation.shape).dtype == bool:
        return activation, positions
    chosen = columns(positions)
    length = activation.shape[1]
    index = jnp.clip(chosen, 0, length - 1).reshape(*chosen.shape, *(1,) * (activation.ndim - 2))
    return jnp.take_along_axis(activation, index, axis=1), (chosen >= 0) & (chosen < length)


def scatter(
    values: Shaped[Array, "batch places ..."], positions: Positions, length: int
) -> Shaped[Array, "batch length ..."]:
    """Values of places, put at their positions; values at other positions are arbitrary."""
    if positions is None or positions.dtype == bool:
        return values
    chosen = columns(positions)[:, None]
    column = (jnp.arange(length)[None, :, None] == chosen).argmax(axis=-1)
    index = column.reshape(*column.shape, *(1,) * (values.ndim - 2))
    return jnp.take_along_axis(values, index, axis=1)
