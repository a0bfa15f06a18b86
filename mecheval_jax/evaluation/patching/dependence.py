"""On which inputs of a function each of its outputs can depend, read off its jaxpr.

Nothing is computed: the function is traced with shapes alone, and inputs are followed through its
equations. An equation is taken to mix all of its operands, so that a dependence may be reported
that a value never shows, but none is missed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from mecheval_jax.array_types import PyTree


def dependence(
    function: Callable[..., Mapping[str, PyTree]], inputs: Mapping[str, PyTree]
) -> dict[str, frozenset[str]]:
    """The names of the inputs that each output can depend on.

    Args:
        function: Traceable function of `inputs`, one mapping of arrays to another.
        inputs: Arrays or their shapes, by name.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(dict(inputs))
    names = _names(inputs)
    reached: dict[Any, frozenset[str]] = dict(zip(closed.jaxpr.invars, names, strict=True))

    def of(variable: Any) -> frozenset[str]:
        return frozenset() if hasattr(variable, "val") else reached.get(variable, frozenset())

    for equation in closed.jaxpr.eqns:
        mixed = frozenset().union(*map(of, equation.invars))
        reached |= dict.fromkeys(equation.outvars, mixed)
    found: dict[str, frozenset[str]] = {}
    outputs = zip(_names(shapes), closed.jaxpr.outvars, strict=True)
    for (name,), variable in outputs:
        found[name] = found.get(name, frozenset()) | of(variable)
    return found


def _names(tree: Mapping[str, PyTree]) -> list[frozenset[str]]:
    """For every leaf of a mapping, the name under which it stands there."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(dict(tree))
    return [frozenset({path[0].key}) for path, _ in leaves]
