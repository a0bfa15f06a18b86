"""Weights in and out of other implementations."""

from mecheval_jax.interop.reference import (
    from_reference,
    from_reference_mixer,
    to_reference,
    to_reference_mixer,
)

__all__ = ["from_reference", "from_reference_mixer", "to_reference", "to_reference_mixer"]
