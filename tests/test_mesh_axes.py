"""Layouts of arrays along the axes of a mesh."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from mecheval_jax.mesh_axes import AXES, DOCUMENTS, FREE, MODEL, fitted, spread

MESH = AbstractMesh((2, 2, 2), AXES)


@pytest.mark.parametrize(
    ("layout", "shape", "expected"),
    [
        (("fsdp", "model"), (4, 6), ("fsdp", "model")),
        (("fsdp", "model"), (3, 6), (None, "model")),
        ((DOCUMENTS, None, MODEL), (6, 5, 4), (None, None, "model")),
        ((DOCUMENTS, FREE), (8, 3), (DOCUMENTS, FREE)),
        (("model",), (4, 4, 4), ("model",)),
    ],
)
def test_fitted(layout, shape, expected):
    """Catches an uneven cut, which jax refuses, and an axis that is dropped with its neighbour."""
    assert fitted(layout, shape, MESH.shape) == PartitionSpec(*expected)


def test_spread_leaves_no_trace_without_a_mesh():
    """Catches constraints in the programs of one device."""
    text = str(jax.make_jaxpr(lambda x: spread(x, DOCUMENTS))(jnp.ones((4, 4))))
    assert "sharding_constraint" not in text
