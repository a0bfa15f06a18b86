"""Which parameters of a model stay float32 where it computes in half precision."""

import jax

from mecheval_jax.array_types import Array, PyTree

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
