"""Padding of vocabulary tables to a multiple of the number of devices along ``model``.

The added rows are zeros. No token reads them and no logit depends on them (`LanguageModel.rows`),
so their gradients are zeros and they stay zeros. They exist only in the train state of a run on
such a mesh: checkpoints and scores hold the tables without them and do not depend on the mesh.
"""

import re
from typing import Any

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import PyTree
from mecheval_jax.mesh_axes import MODEL, AnyMesh
from mecheval_jax.partitioning.rules import path_name

TABLES = ((r"token_embedding/embedding$", 0), (r"output_head/kernel$", 1))
"""Patterns of the paths of tables, in parameters and moments, with the axis of the vocabulary."""


def padded_rows(vocabulary_size: int, mesh: AnyMesh) -> int:
    """Number of rows of a padded table on a mesh."""
    devices = mesh.shape[MODEL]
    return -(-vocabulary_size // devices) * devices


def resize_tables(tree: PyTree, rows: int) -> PyTree:
    """Cut or pad with zeros the tables of a tree, parameters or a train state. Traceable.

    Args:
        tree: Tree with the tables.
        rows: Number of rows that the tables shall have.
    """

    def resize(path: tuple, leaf: Any) -> Any:
        for pattern, axis in TABLES:
            if re.search(pattern, path_name(path)):
                spare = max(0, rows - leaf.shape[axis])
                pads = [(0, spare if i == axis else 0) for i in range(leaf.ndim)]
                return jax.lax.slice_in_dim(jnp.pad(leaf, pads), 0, rows, axis=axis)
        return leaf

    return jax.tree.map_with_path(resize, tree)


def resized(state: PyTree, abstract: PyTree) -> PyTree:
    """A train state with tables of as many rows as in `abstract`, and with its shardings."""
    sizes = [jax.tree.map(jnp.shape, tree) for tree in (state, abstract)]
    if sizes[0] == sizes[1]:
        return state
    rows = len(abstract.params["token_embedding"]["embedding"])
    where = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return jax.jit(resize_tables, static_argnums=1, out_shardings=where)(state, rows)
