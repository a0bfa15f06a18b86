"""What stays float32 where a model computes in half precision: parameters, and sums of gradients.

The gradient of a parameter that all tokens share is a sum over them. Of a matrix it is a product,
which is summed in float32 anyway. What stands beside activations is taken by
`ops.precision.beside`; here are biases of ``nn.Dense``, those of the user's own mixers too.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax

from mecheval_jax.array_types import Array, PyTree
from mecheval_jax.ops.precision import beside, is_wide

WIDE = (
    "w0", "A_log", "dt_bias", "dt_proj/bias", "log_dt", "inv_A_real", "A_imag", "time_decay",
    "time_first",
)  # fmt: skip
"""Parameters that do, because exponentials are taken of them; of some, part and name."""
WIDE_PARTS = ("filter",)
"""Parts all of whose parameters do: many positions of a filter are one number in half precision."""


def in_compute_dtype(params: PyTree, dtype: str) -> PyTree:
    """Parameters in the type that a model computes in, but for `WIDE` and `WIDE_PARTS`.

    Args:
        params: The parameters, in float32 or wider.
        dtype: Type of the activations, of `language_model.DTYPES`.
    """
    if dtype == "float32":
        return params

    def cast(path: tuple, leaf: Array) -> Array:
        *parts, name = (step.key for step in path)
        own = {name, "/".join((*parts[-1:], name))}
        wide = own & {*WIDE} or {*parts} & {*WIDE_PARTS}
        return leaf if wide else leaf.astype(dtype)

    return jax.tree_util.tree_map_with_path(cast, params)


@contextlib.contextmanager
def wide_sums(dtype: str) -> Iterator[None]:
    """Within the context gradients of biases of ``nn.Dense`` are summed in float32.

    Args:
        dtype: Type of the activations; of float32 the context does nothing.
    """
    with contextlib.nullcontext() if dtype == "float32" else nn.intercept_methods(_with_bias):
        yield


def _with_bias(
    call: Callable, arguments: tuple, options: dict[str, Any], context: nn.module.InterceptorContext
) -> Any:
    """Let a dense layer of any module take its bias by `beside`."""
    layer = context.module
    is_biased = type(layer) is nn.Dense and layer.use_bias and context.method_name == "__call__"
    if not is_biased or layer.is_initializing():
        return call(*arguments, **options)
    bias = layer.variables["params"]["bias"]
    if is_wide(bias):
        return call(*arguments, **options)
    own = layer.clone(parent=None, use_bias=False)
    y: Any = own.apply(layer.variables, *arguments, **options)
    return y + beside(bias, y)
