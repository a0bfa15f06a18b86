"""The axes of a mesh of devices, and the layouts of a model's arrays along them.

``data``
    Documents are spread over it; parameters are replicated.
``fsdp``
    Documents are spread over it, and so is every parameter, which is gathered where it is
    used (fully sharded data parallelism, Rajbhandari et al. 2020).
``model``
    Heads, inner channels and the vocabulary are spread over it (tensor parallelism, Shoeybi et
    al. 2019).

A layout gives, for every dimension of an array, the axes along which it is cut. An axis whose size
does not divide the dimension is ignored: the array is then whole along it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh, PartitionSpec

from mecheval_jax.array_types import Array, Shaped

AXES = DATA, FSDP, MODEL = ("data", "fsdp", "model")
DOCUMENTS = (DATA, FSDP)
"""The axes over which documents are spread."""

FREE = PartitionSpec.UNCONSTRAINED
"""Layout of a dimension that XLA may choose."""

AnyMesh = Mesh | AbstractMesh
"""A mesh of devices, or only its axes and their sizes."""

Axes = Any
"""Layout of one dimension of an array: an axis, several, None for none, or `FREE`."""

Layout = Sequence[Axes]
"""Layout of the leading dimensions of an array; the others are whole."""


def fitted(layout: Layout, shape: Sequence[int], sizes: Mapping[str, int]) -> PartitionSpec:
    """A layout without the axes that do not divide their dimensions.

    Args:
        layout: Layout to fit.
        shape: Shape of the array.
        sizes: Number of devices along every axis of the mesh.
    """

    def divides(axes: Axes, size: int) -> bool:
        if axes is FREE:
            return True
        axes = (axes,) if isinstance(axes, str) else axes or ()
        return size % math.prod(sizes[axis] for axis in axes) == 0

    pairs = zip(layout, shape, strict=False)
    return PartitionSpec(*(axes if divides(axes, size) else None for axes, size in pairs))


def current_mesh() -> AbstractMesh | None:
    """Mesh for which a program is being traced (``jax.set_mesh``); None if it lacks `AXES`.

    It is also None inside ``jax.shard_map``, where each device runs a program of its own.
    """
    mesh = jax.sharding.get_abstract_mesh()
    is_ours = set(AXES) <= set(mesh.axis_names) and AxisType.Manual not in mesh.axis_types
    return mesh if is_ours else None


def is_shared_out(count: int) -> bool:
    """Whether the current mesh spreads `count` heads or channels over ``model``."""
    mesh = current_mesh()
    return mesh is not None and mesh.shape[MODEL] > 1 and count % mesh.shape[MODEL] == 0


def cuts_parameters() -> bool:
    """Whether the current mesh spreads parameters over devices, and not documents alone."""
    mesh = current_mesh()
    return mesh is not None and mesh.shape[FSDP] * mesh.shape[MODEL] > 1


def spread(x: Shaped[Array, "..."], *layout: Axes) -> Shaped[Array, "..."]:
    """Constrain the layout of an array on the current mesh.

    Without this XLA chooses layouts, and may move activations between devices to get them. The
    array is returned as it is if there is no mesh, or one with the axis ``data`` alone.
    """
    mesh = current_mesh()
    if mesh is None or not cuts_parameters():
        return x
    return jax.lax.with_sharding_constraint(x, fitted(layout, x.shape, mesh.shape))
