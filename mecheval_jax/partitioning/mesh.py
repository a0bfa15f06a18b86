"""Meshes of devices."""

from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mecheval_jax.errors import UserError

DATA = "data"
"""The mesh axis over which documents are spread."""


def make_mesh(
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
) -> Mesh:
    """A mesh of all (or the given) devices along the axis ``data``.

    The axis is Auto: with the default, Explicit axes, linen's Embed does not compile.
    """
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), (DATA,), axis_types=(AxisType.Auto,), devices=devices)


def check_batch(batch_size: int, mesh: Mesh) -> None:
    """Raise UserError unless a batch divides evenly over the mesh."""
    devices = mesh.shape[DATA]
    if batch_size % devices:
        raise UserError(
            f"training.batch_size {batch_size} does not divide over {devices} devices: "
            f"take a multiple of {devices}"
        )


def documents_sharding(mesh: Mesh) -> NamedSharding:
    """Leading axis over the devices: for whatever has one row per document."""
    return NamedSharding(mesh, PartitionSpec(DATA))


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, PartitionSpec())
