"""Sums of arrays with axes of size 1, as a CPU computes them quickly.

    y[b, t, h] = sum over d of a[b, t, h, d] b[b, t, h, d]

The kernels to which XLA hands such a sum on a CPU take the product along, and are slow where an
axis of size 1 stands among four or more: 150 us for arrays of [32, 35, 1, 64], and 5 us for the
same numbers as [32, 35, 64]. A mixer of one head, group or chunk has such an axis in every array.
Most of the sums are nowhere in its code: they are derivatives of norms, softmaxes and factors by
head. So the rule is one for programs, and not for the places in which they are written.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var

from mecheval_jax.array_types import Array

FEWEST_AXES = 4
"""Number of axes from which on a sum is slow."""

CARRIED = ("add", "add_any", "mul", "neg", "square", "sub")
"""Operations that are computed within a sum of their result."""

REACH = 16
"""Number of such operations, one on the other, that are computed anew for a sum."""


def without_unit_axes(function: Callable) -> Callable:
    """A function whose sums of products are computed without axes of size 1.

    Its results are those of `function`, but for the order in which terms are added. Programs inside
    loops, branches, checkpoints and rules of differentiation are left as they are.

    Args:
        function: Traceable function: (tree, ...) -> tree.
    """

    def rewritten(*arguments: Any) -> Any:
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        given = jax.tree.leaves(arguments)
        results = _Evaluation(program.jaxpr, program.consts, given).results()
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return rewritten


class _Evaluation:
    """A program that is evaluated equation by equation.

    Args:
        program: The program.
        constants: Its constants.
        arguments: Its arguments.
    """

    def __init__(self, program: Jaxpr, constants: Sequence[Any], arguments: Sequence[Any]):
        self._program = program
        self._values = dict(zip(program.constvars, constants, strict=True))
        self._values |= zip(program.invars, arguments, strict=True)
        self._makers: dict[Var, JaxprEqn] = {}
        self._squeezed: dict[tuple[Var, tuple[int, ...]], Any] = {}

    def results(self) -> list[Any]:
        """Results of the program."""
        for equation in self._program.eqns:
            # What is said around an operation, such as how random bits are drawn, and the names by
            # which profiles know it.
            with equation.ctx.manager, _scope(equation):
                found = self._computed(equation)
            self._values |= zip(equation.outvars, found, strict=True)
            self._makers |= dict.fromkeys(equation.outvars, equation)
        return [self._value(variable) for variable in self._program.outvars]

    def _value(self, variable: Var | Literal) -> Any:
        return variable.val if isinstance(variable, Literal) else self._values[variable]

    def _computed(self, equation: JaxprEqn) -> Sequence[Any]:
        """What an equation computes."""
        primitive, given = equation.primitive, equation.params
        if primitive.name == "reduce_sum" and self._is_slow(equation.invars[0]):
            return [self._sum(equation)]
        inputs = [self._value(variable) for variable in equation.invars]
        if primitive.name == "jit":
            return _Evaluation(given["jaxpr"].jaxpr, given["jaxpr"].consts, inputs).results()
        found = primitive.bind(*inputs, **primitive.get_bind_params(given))
        return found if primitive.multiple_results else [found]

    def _is_slow(self, variable: Var | Literal) -> bool:
        shape = variable.aval.shape
        return len(shape) >= FEWEST_AXES and 1 in shape and self._carried(variable) is not None

    def _carried(self, variable: Var | Literal) -> JaxprEqn | None:
        """The equation of a variable, if it is computed within a sum."""
        maker = None if isinstance(variable, Literal) else self._makers.get(variable)
        return maker if maker is not None and maker.primitive.name in CARRIED else None

    def _sum(self, equation: JaxprEqn) -> Array:
        """A sum without the axes of size 1, in the shape that it has with them."""
        (variable,), (result,) = equation.invars, equation.outvars
        shape = variable.aval.shape
        units = tuple(axis for axis, size in enumerate(shape) if size == 1)
        kept = [axis for axis, size in enumerate(shape) if size != 1]
        axes = tuple(kept.index(axis) for axis in equation.params["axes"] if axis in kept)
        given = equation.params | {"axes": axes}
        total = equation.primitive.bind(self._without(variable, units, REACH), **given)
        return total.reshape(result.aval.shape)

    def _without(self, variable: Var | Literal, units: tuple[int, ...], reach: int) -> Any:
        """A variable without these axes of size 1, computed without them as far as a sum reaches.

        Where it is spread over further axes of a product, it is of size 1 there and stays so.
        """
        if not variable.aval.shape:
            return self._value(variable)
        if isinstance(variable, Literal):
            return lax.squeeze(variable.val, units)
        if (variable, units) not in self._squeezed:
            maker = self._carried(variable) if reach else None
            if maker is None:
                found = lax.squeeze(self._value(variable), units)
            else:
                inputs = [self._without(each, units, reach - 1) for each in maker.invars]
                found = maker.primitive.bind(*inputs, **maker.params)
            self._squeezed[variable, units] = found
        return self._squeezed[variable, units]


def _scope(equation: JaxprEqn) -> contextlib.AbstractContextManager:
    """The names by which profiles of a program know an equation."""
    name = str(equation.source_info.name_stack)
    return jax.named_scope(name) if name else contextlib.nullcontext()
