"""Rules that place a whole train state: regular expression on a path -> PartitionSpec."""

import re
from collections.abc import Sequence

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mecheval_jax.array_types import PyTree

Rule = tuple[str, PartitionSpec]

DATA_PARALLEL: tuple[Rule, ...] = ((".*", PartitionSpec()),)
"""Everything replicated: documents are spread, parameters are not."""


def path_name(path: tuple) -> str:
    """A tree path as text: ``params/block_0/mixer/qkv/kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def shardings(tree: PyTree, mesh: Mesh, rules: Sequence[Rule] = DATA_PARALLEL) -> PyTree:
    """The sharding of every leaf: that of the first rule whose expression its path contains.

    Raises:
        ValueError: a leaf that no rule matches.
    """

    def place(path, leaf):
        del leaf
        name = path_name(path)
        for pattern, spec in rules:
            if re.search(pattern, name):
                return NamedSharding(mesh, spec)
        raise ValueError(f"no partitioning rule matches {name!r}")

    return jax.tree.map_with_path(place, tree)
