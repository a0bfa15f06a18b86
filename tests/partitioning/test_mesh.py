"""Shapes of meshes: how they are written, and those that cannot be."""

import jax
import pytest
from jax.sharding import AbstractMesh

from mecheval_jax.errors import UserError
from mecheval_jax.mesh_axes import AXES
from mecheval_jax.partitioning.mesh import check_batch, make_mesh, parse_mesh

MESH = AbstractMesh((2, 2, 2), AXES)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("2,2,2", (2, 2, 2)),
        ("1, 4, 2", (1, 4, 2)),
        ("-1,1,1", (-1, 1, 1)),
        ("fsdp=4,model=2", (-1, 4, 2)),
        ("model=2,data=3", (3, 1, 2)),
    ],
)
def test_parse_mesh(text, shape):
    """Catches axes in another order."""
    assert parse_mesh(text) == shape


@pytest.mark.parametrize(
    "text", ["", "2,2", "2,2,2,2", "2,x,2", "2,-1,2", "0,1,1", "2,0,1", "fdsp=2", "fsdp=2,fsdp=2"]
)
def test_meshes_that_cannot_be(text):
    """Catches a shape that is understood halfway."""
    with pytest.raises(UserError, match=f"mesh '{text}'"):
        parse_mesh(text)


@pytest.mark.parametrize("shape", [(2, 1, 1), (-1, 2, 1), (1, 1, 3)])
def test_a_mesh_of_other_devices(shape):
    """Catches devices that stay idle silently, and an error from inside jax."""
    with pytest.raises(UserError, match=r"does not fit 1 devices: the product"):
        make_mesh(jax.devices()[:1], shape)


def test_check_batch():
    """Catches devices along `model` counted as if documents were spread over them."""
    check_batch(8, MESH)
    check_batch(8, MESH, 2)
    with pytest.raises(UserError, match="batch_size 6 does not divide over 4 devices"):
        check_batch(6, MESH)
    with pytest.raises(UserError, match=r"batch_size 12 .* 2 times .* a multiple of 8"):
        check_batch(12, MESH, 2)
