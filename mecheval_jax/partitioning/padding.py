"""Tables of the vocabulary, filled up to a multiple of the devices along ``model``.

The spare rows are zeros. No token reads them and no logit shows them (`LanguageModel.rows`), so
their gradients are zeros, and they stay what they are. They live in the train state of a run on
such a mesh alone: what is kept (checkpoints, scores) has the tables without them, and so does
not depend on the mesh.
"""

import re

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import PyTree
from mecheval_jax.mesh_axes import MODEL, AnyMesh
from mecheval_jax.partitioning.rules import path_name

TABLES = ((r"token_embedding/embedding$", 0), (r"output_head/kernel$", 1))
"""Tables by their paths, in parameters and moments, and the axis of the vocabulary."""


def padded_rows(vocabulary_size: int, mesh: AnyMesh) -> int:
    """Rows of a table on a mesh."""
    devices = mesh.shape[MODEL]
    return -(-vocabulary_size // devices) * devices


def resize_tables(tree: PyTree, rows: int) -> PyTree:
    """A tree (parameters, or a train state) whose tables have so many rows. Traceable.

    Longer tables are cut, shorter ones filled up with zeros.
    """

    def resize(path, leaf):
        for pattern, axis in TABLES:
            if re.search(pattern, path_name(path)):
                spare = max(0, rows - leaf.shape[axis])
                pads = [(0, spare if i == axis else 0) for i in range(leaf.ndim)]
                return jax.lax.slice_in_dim(jnp.pad(leaf, pads), 0, rows, axis=axis)
        return leaf

    return jax.tree.map_with_path(resize, tree)


def resized(state: PyTree, abstract: PyTree) -> PyTree:
    """A train state with its tables as long as those of `abstract`, and placed as it says."""
    sizes = [jax.tree.map(jnp.shape, tree) for tree in (state, abstract)]
    if sizes[0] == sizes[1]:
        return state
    rows = len(abstract.params["token_embedding"]["embedding"])
    where = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return jax.jit(resize_tables, static_argnums=1, out_shardings=where)(state, rows)
