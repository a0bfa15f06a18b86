"""Import and export of weights of other implementations."""

from mecheval_jax.interop import huggingface
from mecheval_jax.interop.reference import (
    from_reference,
    from_reference_mixer,
    to_reference,
    to_reference_mixer,
)
from mecheval_jax.interop.safetensors_file import load_safetensors, save_safetensors

__all__ = [
    "from_reference",
    "from_reference_mixer",
    "huggingface",
    "load_safetensors",
    "save_safetensors",
    "to_reference",
    "to_reference_mixer",
]
