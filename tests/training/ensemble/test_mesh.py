"""Members over devices: where each lies, and functions of one as those of all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.training.ensemble.mesh import (
    member_mesh,
    on_member_of_each_device,
    on_members,
    padded_count,
    shard_members,
)

MESH = member_mesh(jax.devices()[:1])
TREES = {"a": np.arange(10.0, dtype=np.float32).reshape(5, 2)}
SCALES = np.arange(5, dtype=np.float32)


def scaled(tree, scale, offset):
    return {"a": tree["a"] * scale + offset}


@pytest.mark.parametrize("at_once", [1, 2, 5, 9])
def test_a_function_of_one_is_that_of_all(at_once):
    """Catches members that get each other's arguments, and a shared one that is cut."""
    offset = np.array([1.0, 2.0], np.float32)
    run = jax.jit(on_members(scaled, MESH, at_once, shared=1))
    found = run(TREES, SCALES, offset)
    expected = [tree * scale + offset for tree, scale in zip(TREES["a"], SCALES, strict=True)]
    np.testing.assert_array_equal(found["a"], expected)


def test_one_member_of_each_device():
    """Catches another member that is replaced, and results without an axis of devices."""

    def one(tree, add):
        return {"a": tree["a"] + add}, tree["a"].sum()

    run = jax.jit(on_member_of_each_device(one, MESH, shared=1))
    tree, result = run(jax.tree.map(jnp.asarray, TREES), np.int32(3), np.float32(100))
    changed = TREES["a"] + 100 * (np.arange(5) == 3)[:, None]
    np.testing.assert_array_equal(tree["a"], changed)
    np.testing.assert_array_equal(result, TREES["a"][3:4].sum(axis=1))


def test_members_fill_the_devices_up():
    """Catches members that are dropped where they do not divide over the devices."""
    assert padded_count(5, MESH) == 5
    placed = shard_members(TREES, MESH)
    np.testing.assert_array_equal(placed["a"], TREES["a"])
    assert placed["a"].sharding.spec[0] == "member"
