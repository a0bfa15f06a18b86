"""The axes of a mesh of devices, and how a model's arrays are laid out along them.

``data``
    documents are spread over it, parameters are copied.
``fsdp``
    documents are spread over it too, and so are the numbers of every parameter, which are
    gathered where they are used (fully sharded data parallelism, Rajbhandari et al. 2020).
``model``
    heads, inner channels and the vocabulary are spread over it (Shoeybi et al. 2019).

A layout names for every dimension of an array the axes along which it is cut. An axis that does
not divide its dimension is left out: the array is whole along it.
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
"""For a dimension that may be laid out in any way."""

AnyMesh = Mesh | AbstractMesh
"""Devices, or only how many there are along which axes."""

Axes = Any
"""For one dimension of an array: an axis, several, None for none, or `FREE`."""

Layout = Sequence[Axes]
"""For the first dimensions of an array; those that follow are whole."""


def fitted(layout: Layout, shape: Sequence[int], sizes: Mapping[str, int]) -> PartitionSpec:
    """The layout of an array of this shape, without the axes that do not divide it.

    Args:
        layout: wanted.
        shape: of the array.
        sizes: devices along every axis of the mesh.
    """

    def divides(axes, size):
        if axes is FREE:
            return True
        axes = (axes,) if isinstance(axes, str) else axes or ()
        return size % math.prod(sizes[axis] for axis in axes) == 0

    pairs = zip(layout, shape, strict=False)
    return PartitionSpec(*(axes if divides(axes, size) else None for axes, size in pairs))


def current_mesh() -> AbstractMesh | None:
    """The mesh for which a program is being traced (``jax.set_mesh``); None if it has not `AXES`.

    None, too, inside ``jax.shard_map``, where each device has a program of its own.
    """
    mesh = jax.sharding.get_abstract_mesh()
    is_ours = set(AXES) <= set(mesh.axis_names) and AxisType.Manual not in mesh.axis_types
    return mesh if is_ours else None


def is_shared_out(count: int) -> bool:
    """Whether the current mesh spreads so many heads or channels over ``model``."""
    mesh = current_mesh()
    return mesh is not None and mesh.shape[MODEL] > 1 and count % mesh.shape[MODEL] == 0


def spread(x: Shaped[Array, "..."], *layout: Axes) -> Shaped[Array, "..."]:
    """The same numbers, laid out so on the current mesh; without one, or along ``data``, untouched.

    XLA would otherwise choose a layout by itself, and move activations about to have it.
    """
    mesh = current_mesh()
    if mesh is None or mesh.shape[FSDP] == mesh.shape[MODEL] == 1:
        return x
    return jax.lax.with_sharding_constraint(x, fitted(layout, x.shape, mesh.shape))
