"""Canon-B: a residual convolution of queries, keys and values together (arXiv 2512.17351).

    u <- u + conv(u),   u = [q, k, v]

It stands behind the three projections, in whichever mixer has them.
"""

from collections.abc import Sequence

import flax.linen as nn

from mecheval_jax.array_types import Array
from mecheval_jax.errors import UserError
from mecheval_jax.mixers.options import OPTIONS
from mecheval_jax.mixers.short_convolution import Local, ShortConvolution

PARTS = {"q": "queries", "k": "keys", "v": "values"}

SITES = {
    f"{name}_input": f"{what} before a convolution or shift (only with one)"
    for name, what in PARTS.items()
}
"""Sites before it, which other local operations in its place have as well."""


def convolution(mixer: nn.Module, channels: int) -> ShortConvolution:
    """The module of a mixer, which has it as ``qkv_canon``."""
    return ShortConvolution(channels, mixer.canon, mixer.canon_bias)


def convolved(mixer: nn.Module, parts: Sequence[Array], local: Local) -> list[Array]:
    """Queries, keys and values behind it, read through the sites; as they are without it."""
    if not mixer.canon:
        return list(parts)
    parts = [getattr(mixer, f"{n}_input")(u) for n, u in zip(PARTS, parts, strict=True)]
    return [u + c for u, c in zip(parts, local("qkv_canon", parts), strict=True)]


def check_alone(mixer: nn.Module) -> None:
    """Refuse it in a mixer whose queries, keys and values have convolutions of their own.

    Raises:
        UserError: If the mixer has both.
    """
    if mixer.canon and mixer.kernel:
        raise UserError(
            f"model.canon_at has B, and {OPTIONS}kernel is {mixer.kernel}: queries, keys and "
            "values have a convolution of their own, in whose place Canon-B stands with kernel 0"
        )
