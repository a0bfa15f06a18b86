"""A function of one tree, applied along the first axis of the arrays of trees."""

from collections.abc import Callable

import jax

from mecheval_jax.array_types import PyTree


def for_each(function: Callable[[PyTree], PyTree], trees: PyTree, at_once: int = 0) -> PyTree:
    """What a function gives for each place along the first axis of `trees`. Traceable.

    A place that is alone has no such axis while it is computed: along one, XLA computes Mamba's
    scan on a CPU several times as slowly.

    Args:
        function: Function of a tree without the axis.
        trees: Tree of arrays with the axis.
        at_once: Number of places that are computed together, by `jax.vmap`, group after group; all
            of them if 0 or more than there are.
    """
    places = len(jax.tree.leaves(trees)[0])
    if places == 1:
        alone = function(jax.tree.map(lambda leaf: leaf[0], trees))
        return jax.tree.map(lambda leaf: leaf[None], alone)
    if not at_once or at_once >= places:
        return jax.vmap(function)(trees)
    return jax.lax.map(function, trees, batch_size=at_once if at_once > 1 else None)
