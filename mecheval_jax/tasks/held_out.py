"""Pairs that are kept out of training, by a hash.

Each cell (key, value) is held out with a fixed probability, by a function of the task's
seed alone: all runs agree on the cells, and no table is stored.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Int, Key, Shaped

AnyArray = Array | np.ndarray
"""The hash is the same function of arrays on the device and on the host."""


def mix(x: Shaped[AnyArray, "..."]) -> Shaped[AnyArray, "..."]:
    """A bijection of uint32 that scatters its input (the finalizer "lowbias32" of C. Wellons)."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> shift)) * np.uint32(factor)
    return x ^ (x >> 16)


def cells(
    seed: int, keys: Int[AnyArray, "*shape"], values: Int[AnyArray, "*shape"]
) -> Shaped[AnyArray, "*shape"]:
    """The hash of each cell, uniform on uint32."""
    salted = mix(keys.astype(jnp.uint32) + np.uint32((seed * 0x9E3779B9) & 0xFFFFFFFF))
    return mix(salted ^ mix(values.astype(jnp.uint32) + np.uint32(0x85EBCA6B)))


def is_held_out(
    seed: int, fraction: float, keys: Int[AnyArray, "*shape"], values: Int[AnyArray, "*shape"]
) -> Bool[AnyArray, "*shape"]:
    """Whether cells are held out; `fraction` of all are."""
    return cells(seed, keys, values) < np.uint32(min(fraction * 2.0**32, 2.0**32 - 1))


def choose_uniformly(key: Key, allowed: Bool[Array, " values"]) -> Int[Array, ""]:
    """A uniform index among the allowed ones: each gets a hashed priority, the highest wins.

    One random word and a hash per value instead of a random word per value.
    """
    salt = jax.random.bits(key, dtype=jnp.uint32)
    priority = mix(mix(jnp.arange(allowed.shape[0], dtype=jnp.uint32) + salt) ^ salt)
    return jnp.argmax(jnp.where(allowed, priority | 1, 0))
