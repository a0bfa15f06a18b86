"""The mesh of an ensemble: one axis of members, across which devices exchange nothing.

How many members a device computes at once is chosen in `training.ensemble.strategy_choice`;
`training.ensemble.member_programs` makes the programs of training from the functions here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mecheval_jax.array_types import PyTree
from mecheval_jax.ops.mapping import for_each
from mecheval_jax.partitioning.multihost import shard

MEMBER = "member"
"""The mesh axis over which members are spread."""


def member_mesh(devices: Sequence | None = None) -> Mesh:
    """A mesh of all (or the given) devices along the axis ``member``."""
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), (MEMBER,), axis_types=(AxisType.Auto,), devices=devices)


def padded_count(members: int, mesh: Mesh) -> int:
    """Number of members, rounded up to a multiple of the devices."""
    return -(-members // mesh.size) * mesh.size


def members_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding that spreads the leading axis, that of the members, over the devices."""
    return NamedSharding(mesh, PartitionSpec(MEMBER))


def shard_members(tree: PyTree, mesh: Mesh) -> PyTree:
    """Put host arrays with a leading axis of members onto the devices of these members.

    The last member is repeated until all devices have equally many. Every process gives the
    whole tree and keeps its own part.
    """

    def filled(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        spare = padded_count(len(leaf), mesh) - len(leaf)
        return np.concatenate([leaf, np.repeat(leaf[-1:], spare, axis=0)]) if spare else leaf

    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten(shard([filled(leaf) for leaf in leaves], members_sharding(mesh)))


def on_members(one: Callable, mesh: Mesh, at_once: int, shared: int = 0) -> Callable:
    """A function of one member's trees as a function of all members'.

    Each device goes through its own members, `at_once` of them together as a `jax.vmap`, group
    after group as a `jax.lax.map`. All of it runs in a `jax.shard_map`, because XLA would gather
    the whole batch for an FFT otherwise.

    Args:
        one: Function: (tree of a member, ..., shared, ...) -> tree.
        mesh: Mesh of `member_mesh`.
        at_once: Number of members that a device computes together; all of its own if more.
        shared: Number of arguments, the last ones, that are the same for all members.
    """

    def block(trees: tuple, same: tuple) -> PyTree:
        def each(of_member: tuple) -> PyTree:
            return one(*of_member, *same)

        return for_each(each, trees, at_once)

    return _spread(block, mesh, shared)


def on_member_of_each_device(one: Callable, mesh: Mesh, shared: int = 0) -> Callable:
    """A function of one member's tree, applied to one member on each device.

    `one` maps (tree, shared, ...) to (tree, result). The new function maps (tree of all members,
    index of the member on its device, shared, ...) to the tree in which these members are replaced,
    and their results along a leading axis of devices.
    """

    def block(trees: tuple, same: tuple) -> tuple[PyTree, PyTree]:
        (tree,), (which, *others) = trees, same
        member = jax.tree.map(
            lambda leaf: jax.lax.dynamic_index_in_dim(leaf, which, keepdims=False), tree
        )
        member, result = one(member, *others)
        tree = jax.tree.map(
            lambda all, new: jax.lax.dynamic_update_index_in_dim(all, new, which, 0), tree, member
        )
        return tree, jax.tree.map(lambda leaf: leaf[None], result)

    return _spread(block, mesh, 1 + shared)


def _spread(block: Callable[[tuple, tuple], PyTree], mesh: Mesh, shared: int) -> Callable:
    """A function of a device's part, turned into one of whole arrays; the last are replicated."""
    specs, whole = PartitionSpec(MEMBER), PartitionSpec()
    spread = jax.shard_map(
        block, mesh=mesh, in_specs=(specs, whole), out_specs=specs, check_vma=False
    )

    def of_all(*arguments: Any) -> PyTree:
        cut = len(arguments) - shared
        return spread(arguments[:cut], arguments[cut:])

    return of_all
