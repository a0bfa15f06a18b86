"""Convolution kernels of linear time-invariant state space models.

S4D (Gu et al. 2022), a diagonal complex state with h[t] = Abar h[t-1] + x[t]:

    K[l] = 2 Re sum_n Cbar_n Abar_n^l,    dt = exp(log_dt),  A = -exp(inv_A_real) + i A_imag
    bilinear:  Abar = (1 + dt A / 2) / (1 - dt A / 2),   Cbar = C B dt / (1 - dt A / 2)
    zoh:       Abar = exp(dt A),                         Cbar = C B (exp(dt A) - 1) / A

Half of the conjugate pairs is stored, hence 2 Re. The shift state space model of H3 (Fu et
al. 2023) remembers the last N inputs: K[l] = sum_n B[n] C[n + l] for l < N.
"""

import math

import jax.numpy as jnp

from mecheval_jax.array_types import Array, Complex, Float
from mecheval_jax.errors import UserError, choose
from mecheval_jax.ops.long_convolution import transform_size
from mecheval_jax.ops.precision import in_float32

Parts = tuple[Float[Array, "channels state"], Float[Array, "channels state"]]
"""Complex numbers as a real and an imaginary part."""

MOST_PRODUCTS = 32
"""Greatest side of the tables whose powers are products. Each product is compiled, and beyond a
thousand tokens exponentials are faster (gradient on a CPU, products / exponentials: 0.4 at 37
tokens, 0.9 at 1,024, 1.6 at 4,096)."""

DISCRETIZATIONS = ("bilinear", "zoh")


def check(d_state: int, discretization: str) -> None:
    """Raise UserError if a state size is odd or a discretization unknown."""
    choose("discretization", discretization, DISCRETIZATIONS)
    if d_state % 2:
        raise UserError(f"d_state {d_state} is odd: it counts conjugate pairs")


def discretize(
    C: Float[Array, "channels state 2"],
    B: Float[Array, "channels state 2"],
    log_dt: Float[Array, " channels"],
    inv_A_real: Float[Array, "channels state"],
    A_imag: Float[Array, "channels state"],
    discretization: str = "bilinear",
) -> tuple[Complex[Array, "channels state"], Complex[Array, "channels state"]]:
    """Cbar and Abar from the parameters of S4D; see the module's docstring.

    The last axis of C and B is (real, imaginary).

    Raises:
        UserError: If the discretization is unknown.
    """
    dt = jnp.exp(log_dt)[:, None]
    A = -jnp.exp(inv_A_real) + 1j * A_imag
    CB = (C[..., 0] + 1j * C[..., 1]) * (B[..., 0] + 1j * B[..., 1])
    if choose("discretization", discretization, DISCRETIZATIONS) == "zoh":
        return CB * jnp.expm1(dt * A) / A, jnp.exp(dt * A)
    below = 1 - dt * A / 2
    return CB * dt / below, (1 + dt * A / 2) / below


def s4d_kernel(
    C_bar: Complex[Array, "channels state"],
    A_bar: Complex[Array, "channels state"],
    length: int,
) -> Float[Array, "length channels"]:
    """The first `length` taps of K.

    Abar^(a s + b) = Abar^(a s) Abar^b with s near sqrt(length), so the powers are products of
    the entries of two small tables, and a real matrix product sums them over the state.
    """
    side = math.isqrt(length - 1) + 1
    if side > MOST_PRODUCTS:
        return _long_kernel(C_bar, A_bar, side)[:length]
    # Real and imaginary parts apart, and products in place of exponentials and logarithms: XLA
    # turns neither complex numbers nor their functions into vector instructions of a CPU.
    A, C = ((z.real, z.imag) for z in (A_bar, C_bar))
    fine = _powers(A, side)
    coarse = [_product(C, power) for power in _powers(_product(fine[-1], A), side)]
    rows = jnp.stack([jnp.concatenate(power, axis=-1) for power in coarse], axis=1)
    columns = jnp.stack([jnp.concatenate((a, -b), axis=-1) for a, b in fine], axis=1)
    taps = jnp.einsum("han,hbn->abh", rows, columns)
    return 2 * taps.reshape(side * side, -1)[:length]


def _long_kernel(C_bar: Array, A_bar: Array, side: int) -> Float[Array, "taps channels"]:
    """The first side^2 taps, from tables of exponentials."""
    index = jnp.arange(side)[None, None]
    log_A = jnp.log(jnp.where(A_bar == 0, jnp.finfo(A_bar.dtype).tiny, A_bar))[..., None]
    fine, coarse = jnp.exp(log_A * index), C_bar[..., None] * jnp.exp(log_A * (side * index))
    taps = jnp.einsum("hna,hnb->abh", coarse.real, fine.real)
    taps = taps - jnp.einsum("hna,hnb->abh", coarse.imag, fine.imag)
    return 2 * taps.reshape(side * side, -1)


def _product(x: Parts, y: Parts) -> Parts:
    """Product of complex numbers, of which each is a real and an imaginary part."""
    return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]


def _powers(A: Parts, count: int) -> list[Parts]:
    """The powers 0 to count - 1, each a product of two of about half its size."""
    found = [(jnp.ones_like(A[0]), jnp.zeros_like(A[0])), A]
    for power in range(2, count):
        found.append(_product(found[power // 2], found[power - power // 2]))
    return found[:count]


@in_float32
def shift_kernel(
    B: Float[Array, "channels state"], C: Float[Array, "channels state"], length: int
) -> Float[Array, "length channels"]:
    """The first `length` taps of the shift state space model; 0 beyond the size of its state."""
    state = B.shape[1]
    known = min(state, length)
    # A correlation by FFT. Its lags below 0 come last, where no tap that is returned may be.
    size = transform_size(state + known - 1)
    product = jnp.conj(jnp.fft.rfft(B, n=size)) * jnp.fft.rfft(C, n=size)
    taps = jnp.fft.irfft(product, n=size)[:, :known]
    return jnp.pad(taps, ((0, 0), (0, length - known))).T
