"""Meshes of devices, with the axes of `mesh_axes`."""

import math
import re
from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mecheval_jax.errors import UserError, shown
from mecheval_jax.mesh_axes import AXES, DATA, DOCUMENTS, FSDP, MODEL, AnyMesh

REST = -1
"""Number of devices along ``data`` that means all that the other axes leave."""


def make_mesh(
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
    shape: Sequence[int] = (REST, 1, 1),
) -> Mesh:
    """A mesh of devices with the axes of `mesh_axes`.

    The axes are of type Auto, since linen's Embed does not compile with Explicit axes.

    Args:
        devices: Devices of the mesh; all devices if None.
        shape: Number of devices along ``data``, ``fsdp`` and ``model``; the first may be `REST`.

    Raises:
        UserError: If the product of the shape is not the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    data, fsdp, model = shape
    if data == REST and fsdp * model > 0:
        data = len(devices) // (fsdp * model)
    if min(data, fsdp, model) < 1 or data * fsdp * model != len(devices):
        raise UserError(
            f"mesh {','.join(map(str, shape))} (data, fsdp, model) does not fit {len(devices)} "
            f"devices: the product of the three must be {len(devices)}"
        )
    return jax.make_mesh(
        (data, fsdp, model), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices
    )


def parse_mesh(text: str) -> tuple[int, int, int]:
    """The shape of a mesh from text such as ``2,2,2``, or by name ``fsdp=4,model=2``.

    Axes that are not named are `REST` for ``data`` and 1 for the others.

    Raises:
        UserError: If the text has another form.
    """
    parts = [part.strip() for part in text.split(",")]
    if "=" not in text and len(parts) == len(AXES):
        parts = [f"{axis}={size}" for axis, size in zip(AXES, parts, strict=True)]
    one = rf"(?:^|(?<=,))({'|'.join(AXES)})=(-1|\d{{1,9}})(?=,|$)"
    given = {axis: int(size) for axis, size in re.findall(one, ",".join(parts))}
    data, fsdp, model = ({DATA: REST, FSDP: 1, MODEL: 1} | given).values()
    if len(given) < len(parts) or data == 0 or min(fsdp, model) < 1:
        raise UserError(
            f"mesh {shown(text, 60)}: devices along data, fsdp and model, as in 2,2,2 or "
            "fsdp=4,model=2"
        )
    return data, fsdp, model


def document_shards(mesh: AnyMesh) -> int:
    """Number of parts into which the documents of a batch are spread."""
    return math.prod(mesh.shape[axis] for axis in DOCUMENTS)


def check_batch(batch_size: int, mesh: AnyMesh, gradient_accumulation: int = 1) -> None:
    """Raise UserError unless every micro-batch divides evenly over the mesh."""
    shards = document_shards(mesh)
    if batch_size % (shards * gradient_accumulation):
        times = f" {gradient_accumulation} times over" if gradient_accumulation > 1 else " over"
        raise UserError(
            f"training.batch_size {batch_size} does not divide{times} {shards} devices: "
            f"take a multiple of {shards * gradient_accumulation}"
        )


def documents_sharding(mesh: Mesh) -> NamedSharding:
    """Sharding of the leading axis, one row per document, over ``data`` and ``fsdp``."""
    return NamedSharding(mesh, PartitionSpec(DOCUMENTS))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding that puts a copy on every device."""
    return NamedSharding(mesh, PartitionSpec())
