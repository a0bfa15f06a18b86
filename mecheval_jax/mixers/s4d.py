"""S4D (Gu et al. 2022): a diagonal linear time-invariant state space model.

    y = K (*) x + D x,   out = GLU(W gelu(y) + b)       ((*): long convolution)

with the kernel K of `ops.ssm_kernels` and one state of size d_state per channel.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Complex, Float, Int, Key
from mecheval_jax.mesh_axes import DOCUMENTS, spread
from mecheval_jax.mixers import initializers
from mecheval_jax.ops import ssm_kernels
from mecheval_jax.ops.long_convolution import long_convolution
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import beside
from mecheval_jax.sites import ALL, declare


def _real_ones(key: Key, shape: Sequence[int]) -> Array:
    """Initializer of complex ones; the last axis is (real, imaginary)."""
    del key
    return jnp.zeros(shape).at[..., 0].set(1)


def _frequencies(key: Key, shape: Sequence[int]) -> Array:
    """Initializer of the frequencies pi n of S4D-Lin."""
    del key
    return jnp.broadcast_to(jnp.pi * jnp.arange(shape[1]), shape)


class S4DKernel(nn.Module):
    """Kernels with their parameters, initialised as S4D-Lin.

    Attributes:
        channels: Number of kernels.
        d_state: Size of the state; half is stored, the other half is its complex conjugate.
        discretization: ``bilinear`` or ``zoh``.
    """

    channels: int
    d_state: int
    discretization: str = "bilinear"

    def __post_init__(self):
        ssm_kernels.check(self.d_state, self.discretization)
        super().__post_init__()

    def setup(self):
        shape = (self.channels, self.d_state // 2)
        # Complex normal: the real and the imaginary part have variance 1/2 each.
        self.C = self.param("C", nn.initializers.normal(0.5**0.5), (*shape, 2))
        self.B = self.param("B", _real_ones, (*shape, 2))
        self.log_dt = self.param("log_dt", initializers.log_uniform(1e-3, 1e-1), shape[:1])
        self.inv_A_real = self.param("inv_A_real", nn.initializers.constant(jnp.log(0.5)), shape)
        self.A_imag = self.param("A_imag", _frequencies, shape)

    def discretized(self) -> tuple[Complex[Array, "c n"], Complex[Array, "c n"]]:
        """Cbar and Abar of `ops.ssm_kernels`."""
        parameters = (self.C, self.B, self.log_dt, self.inv_A_real, self.A_imag)
        return ssm_kernels.discretize(*parameters, self.discretization)

    def __call__(self, length: int) -> Float[Array, "length channels"]:
        """The first `length` taps."""
        return ssm_kernels.s4d_kernel(*self.discretized(), length)

    def step(
        self,
        state: Complex[Array, "batch *axes channels n"],
        x_t: Float[Array, "batch *axes channels"],
    ) -> tuple[Complex[Array, "batch *axes channels n"], Float[Array, "batch *axes channels"]]:
        """Convolve one token; return the next state and the output."""
        C_bar, A_bar = (h[(None,) * (x_t.ndim - 1)] for h in self.discretized())
        state = A_bar * state + x_t[..., None]
        return state, 2 * (C_bar * state).real.sum(axis=-1)


class S4D(nn.Module):
    """A layer of S4D.

    Attributes:
        width: Number of channels of the residual stream.
        d_state: Size of the state per channel.
        discretization: ``bilinear`` or ``zoh``.
    """

    width: int
    d_state: int = 64
    discretization: str = "bilinear"

    CUT = False
    SITES = {
        "filter_output": "output of the long convolution",
        "activation": "gelu of the output of the long convolution plus D x",
        "gate": "half of the output projection that gates the other half, before its sigmoid",
    }

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return {"filter_output": ALL}

    def __post_init__(self):
        ssm_kernels.check(self.d_state, self.discretization)
        super().__post_init__()

    def setup(self):
        declare(self)
        self.kernel = S4DKernel(self.width, self.d_state, self.discretization)
        self.D = self.param("D", nn.initializers.normal(1.0), (self.width,))
        self.out_proj = nn.Dense(2 * self.width, kernel_init=initializers.dense)

    def _out(self, y: Array, x: Array) -> Array:
        """Skip, gelu and gated output projection."""
        y = y + beside(self.D, x) * x
        y = self.out_proj(self.activation(jax.nn.gelu(y, approximate=False)))
        y, gate = jnp.split(spread(y, DOCUMENTS), 2, axis=-1)
        return y * jax.nn.sigmoid(self.gate(gate))

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        y = long_convolution(x, self.kernel(x.shape[1]), inner=False, positions=positions)
        return self._out(self.filter_output(y), at_positions(x, positions))

    def initial_state(self, batch: int, max_length: int) -> Array:
        """Empty state, whose size does not depend on `max_length`."""
        del max_length
        return jnp.zeros((batch, self.width, self.d_state // 2), jnp.result_type(complex))

    def step(
        self, state: Array, x_t: Float[Array, "batch width"]
    ) -> tuple[Array, Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        state, y = self.kernel.step(state, x_t)
        return state, self._out(y, x_t)
