"""Initial values of parameters, which decide whether a model learns to recall at all.

Sources: GPT-2's scheme (dense weights and embeddings N(0, 0.02); projections into the residual
stream, of attention, Hyena and the MLP, divided by sqrt(2 layers)) where nothing else is said;
PyTorch's default for depthwise convolutions, the LSTM, and the dense layers of Mamba to Mamba-3;
Mamba's own rules for its time step (Gu and Dao 2023, section 3.6); their authors' for mLSTM and
RWKV-7. Each initializer is a function of a key, a shape and a dtype, as in Flax; what makes one of
numbers makes it once, so that layers can be seen to have the same.
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax.linen.initializers import normal
from jax.typing import DTypeLike

from mecheval_jax.array_types import Array, Key

Shape = Sequence[int]
Initializer = Callable[..., Array]

STANDARD_DEVIATION = 0.02

dense = normal(STANDARD_DEVIATION)


@functools.cache
def into_residual(layers: int) -> Initializer:
    """N(0, 0.02 / sqrt(2 layers)), for the output projections of attention, Hyena and the MLP."""
    return normal(STANDARD_DEVIATION / math.sqrt(2 * layers))


@functools.cache
def uniform(bound: float) -> Initializer:
    """Uniform on (-bound, bound)."""

    def initialize(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialize


def uniform_fan_in(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Array:
    """Uniform on +-1/sqrt(fan_in), with fan_in the product of all axes but the last.

    For Mamba's dense weights [in, out] and the taps [kernel, width] of depthwise convolutions.
    """
    return uniform(math.prod(shape[:-1]) ** -0.5)(key, shape, dtype)


@functools.cache
def mamba_out_projection(layers: int) -> Initializer:
    """`uniform_fan_in` / sqrt(layers), for Mamba's projection into the residual stream."""

    def initialize(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Array:
        return uniform_fan_in(key, shape, dtype) / math.sqrt(layers)

    return initialize


@functools.cache
def orthogonal(scale: float) -> Initializer:
    """Orthonormal rows or columns, whichever are fewer, times `scale`: the matrices of Flax.

    They are the Q of a QR decomposition whose R has a positive diagonal. Flax has LAPACK decompose
    it on CPUs, where the calls of two devices of a host wait for each other for ever. Gram and
    Schmidt's method has the same result. It is applied twice to each vector, which is enough
    (Giraud, Langou and Rozloznik 2005).
    """

    def initialize(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Array:
        drawn = jax.random.normal(key, (max(shape), min(shape)), dtype).T
        product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

        def add(row: Array, found: Array) -> Array:
            vector = drawn[row]
            for _ in range(2):  # rows that are not found yet are 0
                vector -= product(product(found, vector), found)
            return found.at[row].set(vector / jnp.linalg.norm(vector))

        rows = jax.lax.fori_loop(0, len(drawn), add, jnp.zeros_like(drawn))
        return scale * (rows if shape[0] < shape[1] else rows.T)

    return initialize


SHORTEST, LONGEST = 1e-3, 1e-1
"""Time steps between which those of new models of Mamba's family lie."""


def time_step_bias(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Array:
    """Biases whose softplus is log-uniform from `SHORTEST` to `LONGEST`: dt_bias of Mamba."""
    dt = jnp.exp(jax.random.uniform(key, shape, dtype, math.log(SHORTEST), math.log(LONGEST)))
    return dt + jnp.log(-jnp.expm1(-dt))  # the inverse of softplus


def log_integers(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Array:
    """log(1), ..., log(state) in every channel, [inner, state]: A_log of Mamba."""
    del key
    return jnp.broadcast_to(jnp.log(jnp.arange(1, shape[-1] + 1, dtype=dtype)), shape)


ALMOST_ZERO = 1e-4
"""Least rate where authors draw rates from 0 on, of which there is no logarithm."""


@functools.cache
def log_uniform_rates(low: float, high: float) -> Initializer:
    """Logarithms of rates uniform between `low` and `high`: A_log of one rate per head."""

    def initialize(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Array:
        return jnp.log(jax.random.uniform(key, shape, dtype, low, high))

    return initialize


@functools.cache
def log_uniform(low: float, high: float) -> Initializer:
    """Logarithms uniform between those of `low` and `high`: log_dt of S4D."""

    def initialize(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, math.log(low), math.log(high))

    return initialize


def line(first: float, last: float) -> Initializer:
    """Equidistant numbers from `first` to `last`: the biases of mLSTM's forget gates."""

    def initialize(key: Key, shape: Shape, dtype: DTypeLike = jnp.float32) -> Array:
        del key
        return jnp.linspace(first, last, shape[0], dtype=dtype)

    return initialize
