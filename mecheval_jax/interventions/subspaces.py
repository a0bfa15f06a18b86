"""Interventions along directions: a shift by a vector, and interchange in a subspace.

    steer                   x <- x + d
    interchange_subspace    x <- x + P (x' - x)

with d and P on the last axis of the activation, and x' the activation of another run (Geiger et
al. 2024). P = B B^T projects onto the span of the orthonormal columns of B; the part of x that is
orthogonal to them stays live.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import ARRAYS, Array, Float
from mecheval_jax.errors import UserError, expect
from mecheval_jax.interventions.capture import Activations, Interventions, at_sites
from mecheval_jax.interventions.patch import interchange, shift
from mecheval_jax.interventions.positions import Positions, positions_mask

TOLERANCE = 1e-4
"""Greatest allowed deviation of B^T B from I, and of P P from P: far above float32's rounding."""


def steer(
    like: Activations,
    sites: Iterable[str],
    direction: Float[Array, "..."],
    positions: Positions = None,
) -> Interventions:
    """Add `direction` to the activations at `sites`.

    Args:
        like: Activations of the shapes that the model's have.
        sites: Paths as in `like`, or aliases.
        direction: Vector that is added, scaled by the caller: one number per channel, or an
            array of the shape of an activation at one position.
        positions: Positions that are steered; all if None.

    Raises:
        UserError: If `like` lacks a site, or the direction has another shape.
    """
    expect("the direction", direction, ARRAYS, "an array, jnp.asarray of the numbers")
    changes = {}
    for path, live in at_sites(like, sites).items():
        if direction.shape not in (live.shape[2:], live.shape[-1:]):
            raise UserError(
                f"{path}: the direction is {list(direction.shape)}, an activation at one "
                f"position {list(live.shape[2:])}"
            )
        vector = direction.astype(live.dtype)
        vector = vector.reshape(*(1,) * (live.ndim - direction.ndim), *direction.shape)
        change = jnp.broadcast_to(vector, live.shape)
        if positions is not None:
            here = positions_mask(positions, live.shape)
            change = jnp.where(here, change, jnp.zeros_like(change))
        changes[path] = change
    return shift(changes)


def projection_onto(basis: Float[Array, "channels dimension"]) -> Float[Array, "channels channels"]:
    """B B^T, the projection onto the span of orthonormal columns.

    Raises:
        UserError: If the columns are not orthonormal; traced values are not checked.
    """
    expect("the basis", basis, ARRAYS, "an array [channels, dimension]")
    if basis.ndim != 2 or not basis.shape[1]:
        raise UserError(
            f"the basis is {list(basis.shape)}: it takes [channels, dimension], with a "
            "column at least"
        )
    dimension = basis.shape[1]
    if not isinstance(basis, jax.core.Tracer):
        columns = np.asarray(basis, np.float64)
        deviation = np.abs(columns.T @ columns - np.eye(dimension)).max()
        if not deviation <= TOLERANCE:
            raise UserError(
                f"the basis [{basis.shape[0]} channels, {dimension} columns] is not orthonormal: "
                f"B^T B deviates from the identity by {deviation:.3g}, at most {TOLERANCE} is "
                "allowed (jnp.linalg.qr(basis)[0] has the same span)"
            )
    # Accelerators round products by default, further than `TOLERANCE`.
    return jnp.matmul(basis, basis.T, precision="highest")


def interchange_subspace(
    source: Activations,
    sites: Iterable[str],
    projection: Float[Array, "channels channels"],
    positions: Positions = None,
) -> Interventions:
    """Replace the part of activations that lies in a subspace by that of another run.

    Args:
        source: Activations of another run on documents of the same shape.
        sites: Paths as in `source`, or aliases.
        projection: Projection of the last axis onto the subspace; see `projection_onto`.
        positions: Positions that are replaced; all if None.

    Raises:
        UserError: If `source` lacks a site, the number of channels is another, or the matrix is
            no projection (not checked on traced values).
    """
    expect("the projection", projection, ARRAYS, "an array [channels, channels]")
    if projection.ndim != 2 or projection.shape[0] != projection.shape[1]:
        raise UserError(f"the projection is {list(projection.shape)}: it takes a square matrix")
    if not isinstance(projection, jax.core.Tracer):
        matrix = np.asarray(projection, np.float64)
        deviation = np.abs(matrix @ matrix - matrix).max()
        if not deviation <= TOLERANCE:
            raise UserError(
                f"the matrix is no projection: P P deviates from P by {deviation:.3g}, "
                f"at most {TOLERANCE} is allowed"
            )
    found = {}
    for path, entry in interchange(source, sites, positions).items():
        channels = entry["value"].shape[-1]
        if projection.shape[0] != channels:
            raise UserError(
                f"{path}: the projection is {list(projection.shape)}, the activation has "
                f"{channels} channels"
            )
        found[path] = {**entry, "projection": projection.astype(entry["value"].dtype)}
    return found
