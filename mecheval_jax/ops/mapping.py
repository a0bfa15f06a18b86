"""Functions along an axis: of one tree after the other, and of one token after the other."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, PyTree


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


def over_tokens(
    advance: Callable[[PyTree, tuple[PyTree, ...]], tuple[PyTree, PyTree]],
    start: PyTree,
    parts: tuple[PyTree, ...],
    leading: tuple[Array | None, ...] = (),
    *,
    reverse: bool = False,
) -> PyTree:
    """What a recurrence gives at every token, [batch, length, ...], by a loop. Traceable.

    Args:
        advance: Function of the state and of what belongs to one token, `leading` before `parts`,
            that gives the next state and what is kept.
        start: State before the first token.
        parts: Trees of arrays [batch, length, ...].
        leading: Arrays [length, ...] that documents share, such as the indices of tokens; or None.
        reverse: Whether the loop goes from the last token to the first.
    """
    by_time = jax.tree.map(lambda part: jnp.moveaxis(part, 1, 0), parts)
    kept = jax.lax.scan(advance, start, (*leading, *by_time), reverse=reverse)[1]
    return jax.tree.map(lambda part: jnp.moveaxis(part, 0, 1), kept)
