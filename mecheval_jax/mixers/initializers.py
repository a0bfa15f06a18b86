"""Initialisation of the study's models; it decides what trains.

Sources: GPT-2's scheme for all but the Mamba family (dense weights and embeddings
N(0, 0.02), projections into the residual stream divided by sqrt(2 layers)), PyTorch's
default for depthwise convolutions and for Mamba's dense layers, and Mamba's own rules
for its time step (Gu and Dao 2023, section 3.6).
"""

import math

import jax
import jax.numpy as jnp
from flax.linen.initializers import normal

STANDARD_DEVIATION = 0.02

dense = normal(STANDARD_DEVIATION)


def into_residual(layers: int):
    """Output projections of attention, Hyena and the MLP: N(0, 0.02 / sqrt(2 layers))."""
    return normal(STANDARD_DEVIATION / math.sqrt(2 * layers))


def uniform(bound: float):
    """Uniform on (-bound, bound)."""

    def initialize(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialize


def uniform_fan_in(key, shape, dtype=jnp.float32):
    """Uniform on +-1/sqrt(fan_in), fan_in the product of all axes but the last.

    The rule of Mamba's dense weights [in, out], and of a depthwise convolution's taps
    [kernel, width].
    """
    return uniform(math.prod(shape[:-1]) ** -0.5)(key, shape, dtype)


def mamba_out_projection(layers: int):
    """Mamba's projection into the residual stream: `uniform_fan_in` / sqrt(layers)."""

    def initialize(key, shape, dtype=jnp.float32):
        return uniform_fan_in(key, shape, dtype) / math.sqrt(layers)

    return initialize


def time_step_bias(shortest: float = 1e-3, longest: float = 1e-1):
    """The bias whose softplus is log-uniform between two time steps."""

    def initialize(key, shape, dtype=jnp.float32):
        low, high = math.log(shortest), math.log(longest)
        dt = jnp.exp(jax.random.uniform(key, shape, dtype, low, high))
        return dt + jnp.log(-jnp.expm1(-dt))  # the inverse of softplus

    return initialize


def log_integers(key, shape, dtype=jnp.float32):
    """A_log of Mamba: log(1), ..., log(state) in every channel; shape [inner, state]."""
    del key
    return jnp.broadcast_to(jnp.log(jnp.arange(1, shape[-1] + 1, dtype=dtype)), shape)


def log_uniform_rates(low: float, high: float):
    """A_log of a head: the logarithm of a rate uniform between `low` and `high`."""

    def initialize(key, shape, dtype=jnp.float32):
        return jnp.log(jax.random.uniform(key, shape, dtype, low, high))

    return initialize


def log_uniform(low: float, high: float):
    """The logarithm of a number log-uniform between `low` and `high`: S4D's time steps."""

    def initialize(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, math.log(low), math.log(high))

    return initialize
