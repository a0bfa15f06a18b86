"""Operations and memory traffic of a traced program, with every turn of its loops counted.

The compiler's own count (``cost_analysis``) takes the body of a loop once, whatever its number of
turns: a recurrence over 4,096 tokens would count as one of them. This module counts in the jaxpr:

* a matrix product 2 m n k, a convolution 2 outputs taps channels, a Fourier transform 5 n log2 n,
* a reduction or cumulative operation by its inputs, other arithmetic by its outputs.

Traffic is counted for products, convolutions, transforms, reductions and sorts: what they read and
write; for gathers, scatters and dynamic slices: the elements that they move, and not the array
where these lie. Elementwise operations count as fused into these, and the carry of a loop as read
and written in every turn.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

FREE = {
    "broadcast_in_dim", "reshape", "transpose", "squeeze", "slice", "concatenate", "pad", "rev",
    "iota", "copy", "convert_element_type", "bitcast_convert_type", "stop_gradient", "split",
    "select_n", "copy_p", "random_wrap", "random_unwrap", "optimization_barrier",
    "sharding_constraint", "expand_dims", "stack", "unstack", "real", "imag", "complex",
}  # fmt: skip
"""Operations that move numbers without computing, fused into others."""

READING = ("gather", "dynamic_slice")
"""Operations that read as many elements of an array as they give."""


@dataclasses.dataclass(frozen=True)
class Count:
    """Operations and traffic of a program.

    Attributes:
        flops: Number of arithmetic operations.
        bytes: Memory traffic in bytes.
        unbounded: Whether there is a loop with an unknown number of turns, whose body counts once.
    """

    flops: float = 0.0
    bytes: float = 0.0
    unbounded: bool = False

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.flops + other.flops, self.bytes + other.bytes, self.unbounded or other.unbounded
        )

    def times(self, turns: int) -> "Count":
        """The count of `turns` repetitions."""
        return Count(turns * self.flops, turns * self.bytes, self.unbounded)


def count(function: Callable[..., Any], *arguments: Any) -> Count:
    """Count the operations of a function without running it.

    Args:
        function: Traceable function.
        arguments: Arguments of the function; shapes suffice (`jax.ShapeDtypeStruct`).
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*arguments).jaxpr)


def _of_jaxpr(jaxpr: Any) -> Count:
    return sum((_of_equation(equation) for equation in jaxpr.eqns), Count())


def _of_equation(equation: Any) -> Count:
    name, params = equation.primitive.name, equation.params
    if name == "scan":
        carried = params["num_consts"], params["num_consts"] + params["num_carry"]
        carry = 2 * _bytes(equation.invars[slice(*carried)])
        return (_of_jaxpr(params["jaxpr"].jaxpr) + Count(bytes=carry)).times(params["length"])
    if name == "while":
        return _of_jaxpr(params["body_jaxpr"].jaxpr) + Count(unbounded=True)
    if name == "cond":  # the costliest branch
        return max((_of_jaxpr(b.jaxpr) for b in params["branches"]), key=lambda c: c.flops)
    inner = [] if name.startswith("scatter") else list(_inner(params))  # its own is of one number
    if inner:
        return sum(map(_of_jaxpr, inner), Count())
    flops, moves = _flops(name, equation)
    return Count(flops, _traffic(name, equation) if moves else 0)


def _traffic(name: str, equation: Any) -> int:
    """Bytes that an equation reads and writes."""
    given, results = equation.invars, equation.outvars
    if name in READING:  # what is read and written, and the places
        return 2 * _bytes(results) + _bytes(given[1:])
    if name == "dynamic_update_slice":
        return 2 * _bytes(given[1:2]) + _bytes(given[2:])
    if name.startswith("scatter"):  # array, places, updates; others than plain ones read first
        times = 2 if name == "scatter" else 3
        return times * _bytes(given[2:]) + _bytes(given[1:2])
    return _bytes(given) + _bytes(results)


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    """Programs within an equation, such as those of a jitted function."""
    for value in params.values():
        if hasattr(value, "jaxpr"):
            yield value.jaxpr
        elif hasattr(value, "eqns"):
            yield value


def _flops(name: str, equation: Any) -> tuple[float, bool]:
    """Number of operations of an equation, and whether it needs memory traffic."""
    params = equation.params
    inputs = sum(_size(v) for v in equation.invars)
    outputs = sum(_size(v) for v in equation.outvars)
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2.0 * outputs * math.prod(shape[i] for i in contracted), True
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        out_channel = params["dimension_numbers"].rhs_spec[0]
        return 2.0 * outputs * math.prod(kernel) / kernel[out_channel], True
    if name == "fft":
        lengths = params["fft_lengths"]
        points = max(inputs, outputs)
        return 5.0 * points * sum(math.log2(max(n, 2)) for n in lengths), True
    if name.startswith(("reduce_", "cum", "arg")):
        return float(inputs), True
    if name.startswith("scatter"):
        added = _size(equation.invars[2])
        return float(added) if name == "scatter-add" else 0.0, True
    if name in (*READING, "dynamic_update_slice", "sort"):
        return 0.0, True
    return 0.0 if name in FREE else float(outputs), False


def _size(variable: Any) -> int:
    return int(np.prod(getattr(variable.aval, "shape", ()), dtype=np.int64))


def _bytes(variables: Any) -> int:
    return sum(_size(v) * getattr(getattr(v.aval, "dtype", None), "itemsize", 0) for v in variables)
