"""Cells (key, value) that are held out of training, chosen by a hash.

Whether a cell is held out is a function of the cell and the task's seed alone, so all runs agree
without a stored table.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Int, Key, Shaped

AnyArray = Array | np.ndarray
"""Array on the device or on the host; the hash is the same function of both."""


def mix(x: Shaped[AnyArray, "..."]) -> Shaped[AnyArray, "..."]:
    """Hash uint32 numbers by a bijection, the finalizer "lowbias32" of C. Wellons."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> shift)) * np.uint32(factor)
    return x ^ (x >> 16)


def cells(
    seed: int, keys: Int[AnyArray, "*shape"], values: Int[AnyArray, "*shape"]
) -> Shaped[AnyArray, "*shape"]:
    """Hash of each cell, uniform on uint32."""
    salted = mix(keys.astype(jnp.uint32) + np.uint32((seed * 0x9E3779B9) & 0xFFFFFFFF))
    return mix(salted ^ mix(values.astype(jnp.uint32) + np.uint32(0x85EBCA6B)))


def is_held_out(
    seed: int, fraction: float, keys: Int[AnyArray, "*shape"], values: Int[AnyArray, "*shape"]
) -> Bool[AnyArray, "*shape"]:
    """Whether each cell is held out, as a share `fraction` of all cells is."""
    return cells(seed, keys, values) < np.uint32(min(fraction * 2.0**32, 2.0**32 - 1))


def choose_uniformly(key: Key, allowed: Bool[Array, " values"]) -> Int[Array, ""]:
    """A uniform index among the allowed ones: the one with the highest hashed priority.

    This needs one random word and a hash per value, not a random word per value.
    """
    salt = jax.random.bits(key, dtype=jnp.uint32)
    priority = mix(mix(jnp.arange(allowed.shape[0], dtype=jnp.uint32) + salt) ^ salt)
    return jnp.argmax(jnp.where(allowed, priority | 1, 0))
