"""The product of a dense layer with gradients as a CPU computes them quickly.

    y = x W,   dx = dy W^T,   dW = x^T dy

A CPU's kernels read both factors along their rows, so that one factor of dW has to be transposed
first. What jax makes of dW is left to the compiler, which may transpose the larger factor, or leave
it to a kernel that takes twice as long. Here the smaller one is transposed.

The rule is one of reverse mode alone (``jax.custom_vjp``), and gradients of weights are of use in
training alone. So it holds within `quick_gradients`, and elsewhere the product is the plain one,
which has derivatives of every kind.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
from jax import lax

from mecheval_jax.array_types import Array, Float

_QUICK = contextvars.ContextVar("quick gradients of dense layers", default=False)


def product(
    x: Float[Array, "*axes inputs"], kernel: Float[Array, "inputs outputs"]
) -> Float[Array, "*axes outputs"]:
    """The product of every vector with the kernel; the rule is for factors of one type."""
    is_quick = _QUICK.get() and x.dtype == kernel.dtype
    return _with_gradients(x, kernel) if is_quick else x @ kernel


@contextlib.contextmanager
def quick_gradients() -> Iterator[None]:
    """Within the context traced programs compute gradients of dense layers by the rule above."""
    token = _QUICK.set(True)
    try:
        with nn.intercept_methods(_by_product):
            yield
    finally:
        _QUICK.reset(token)


def _by_product(
    call: Callable, arguments: tuple, options: dict[str, Any], context: nn.module.InterceptorContext
) -> Any:
    """Let a plain ``nn.Dense`` of any module compute by `product`."""
    layer = context.module
    is_plain = type(layer) is nn.Dense and layer.dot_general is None and layer.precision is None
    if not is_plain or context.method_name != "__call__" or layer.is_initializing():
        return call(*arguments, **options)
    own = layer.clone(parent=None, dot_general=_dot_general)
    return own.apply(layer.variables, *arguments, **options)


def _dot_general(x: Array, kernel: Array, dimensions: Any, precision: None) -> Array:
    """`jax.lax.dot_general` as ``nn.Dense`` calls it."""
    return product(x, kernel)


@jax.custom_vjp
def _with_gradients(x: Array, kernel: Array) -> Array:
    return x @ kernel


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return x @ kernel, (x, kernel)


def _backward(kept: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = kept
    rows = (tuple(range(x.ndim - 1)),) * 2, ((), ())
    if x.shape[-1] <= dy.shape[-1]:
        of_kernel = lax.dot_general(x, dy, rows)
    else:
        # Without the barrier the compiler would take both transpositions together.
        of_kernel = lax.optimization_barrier(lax.dot_general(dy, x, rows)).T
    return dy @ kernel.T, of_kernel


_with_gradients.defvjp(_forward, _backward)
