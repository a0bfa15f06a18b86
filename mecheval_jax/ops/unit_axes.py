"""Sums of arrays with axes of size 1, as a CPU computes them quickly.

    y[b, t, h] = sum over d of a[b, t, h, d] b[b, t, h, d]

The kernels to which XLA hands such a sum on a CPU take the product along, and are slow where an
axis of size 1 stands among four or more: 150 us for arrays of [32, 35, 1, 64], and 5 us for the
same numbers as [32, 35, 64]. A mixer of one head, group or chunk has such an axis in every array.
Most of the sums are nowhere in its code: they are derivatives of norms, softmaxes and factors by
head. So the rule is one for programs, and not for the places in which they are written.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax import lax
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var

from mecheval_jax.array_types import Array

FEWEST_AXES = 4
"""Number of axes from which on a sum is slow."""

CARRIED = ("add", "mul", "neg", "sub")
"""Operations that are computed within a sum of their result."""


def without_unit_axes(function: Callable) -> Callable:
    """A function whose sums of products are computed without axes of size 1.

    Its results are those of `function`, but for the order in which terms are added. Programs inside
    loops and rules of differentiation are left as they are.

    Args:
        function: Traceable function: (tree, ...) -> tree.
    """

    def rewritten(*arguments: Any) -> Any:
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = _evaluated(program.jaxpr, program.consts, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return rewritten


def _evaluated(program: Jaxpr, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """Results of a program, equation by equation."""
    values = dict(zip(program.constvars, constants, strict=True))
    values |= zip(program.invars, arguments, strict=True)
    makers: dict[Var, JaxprEqn] = {}
    for equation in program.eqns:
        with _scope(equation):
            results = _results(equation, values, makers)
        values |= zip(equation.outvars, results, strict=True)
        makers |= dict.fromkeys(equation.outvars, equation)
    return [_value(variable, values) for variable in program.outvars]


def _scope(equation: JaxprEqn) -> contextlib.AbstractContextManager:
    """The names by which profiles of the program know an equation."""
    name = str(equation.source_info.name_stack)
    return jax.named_scope(name) if name else contextlib.nullcontext()


def _results(
    equation: JaxprEqn, values: Mapping[Var, Any], makers: Mapping[Var, JaxprEqn]
) -> Sequence[Any]:
    """What an equation computes."""
    primitive, given = equation.primitive, equation.params
    inputs = [_value(variable, values) for variable in equation.invars]
    if primitive.name == "jit":
        return _evaluated(given["jaxpr"].jaxpr, given["jaxpr"].consts, inputs)
    if primitive.name == "reduce_sum" and _is_slow(equation.invars[0], makers):
        (variable,), (result,) = equation.invars, equation.outvars
        kept = [axis for axis, size in enumerate(variable.aval.shape) if size != 1]
        axes = tuple(kept.index(axis) for axis in given["axes"] if axis in kept)
        total = primitive.bind(_squeezed(variable, values, makers), **given | {"axes": axes})
        return [total.reshape(result.aval.shape)]
    found = primitive.bind(*inputs, **primitive.get_bind_params(given))
    return found if primitive.multiple_results else [found]


def _value(variable: Var | Literal, values: Mapping[Var, Any]) -> Any:
    return variable.val if isinstance(variable, Literal) else values[variable]


def _is_slow(variable: Var | Literal, makers: Mapping[Var, JaxprEqn]) -> bool:
    shape = variable.aval.shape
    return len(shape) >= FEWEST_AXES and 1 in shape and _carried(variable, makers) is not None


def _carried(variable: Var | Literal, makers: Mapping[Var, JaxprEqn]) -> JaxprEqn | None:
    """The equation of a variable, if it is computed within a sum."""
    maker = None if isinstance(variable, Literal) else makers.get(variable)
    if maker is None or maker.primitive.name not in CARRIED:
        return None
    is_plain = all(each.aval.shape == variable.aval.shape for each in maker.invars)
    return maker if is_plain else None


def _squeezed(
    variable: Var | Literal, values: Mapping[Var, Any], makers: Mapping[Var, JaxprEqn]
) -> Array:
    """A variable without its axes of size 1, computed without them as far as a sum reaches."""
    maker = _carried(variable, makers)
    if maker is None:
        units = [axis for axis, size in enumerate(variable.aval.shape) if size == 1]
        return lax.squeeze(_value(variable, values), units)
    inputs = [_squeezed(each, values, makers) for each in maker.invars]
    return maker.primitive.bind(*inputs, **maker.params)
