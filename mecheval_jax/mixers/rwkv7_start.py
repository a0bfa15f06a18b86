"""Initial values and ranks of RWKV-7, from its authors' training script (BlinkDL/RWKV-LM).

With rho the share of layers that are still to come, i the channel and lin = i / (d - 1) - 1/2:

    m_c = 1 - (i / d)^(p rho);   w0 = -5.5 + 6 (lin + 1/2)^(1 + (l / (n - 1))^0.3) + 2.5 zigzag

and so on, as written below. A zigzag u |u| runs from -1 to 1 over the channels of each head.
"""

import math

import jax.numpy as jnp

from mecheval_jax.array_types import Array

MIXTURES = {"r": 0.2, "w": 0.9, "k": 0.7, "v": 0.7, "a": 0.9, "g": 0.2}
"""Exponents of the initial mixtures, times the share of layers that are still to come."""

RANKS = {"w": 2.5, "a": 2.5, "v": 1.7, "g": 5.0}
"""Ranks of the maps of low rank, as multiples of the square root of the width."""


def rank_of(name: str, width: int) -> int:
    """Rank that the authors choose, a multiple of 32."""
    return max(32, 32 * round(RANKS[name] * math.sqrt(width) / 32))


def initial_values(width: int, heads: int, layer: int, layers: int) -> dict[str, Array]:
    """Initial vectors, which depend on the channel and on the layer."""
    rest, depth = 1 - layer / layers, layer / max(layers - 1, 1)
    channel = jnp.arange(width)
    linear, head = channel / max(width - 1, 1), width // heads
    middle = max((head - 1) / 2, 0.5)
    u = (channel % head - (head - 1) / 2) / middle
    zigzag, slope = u * jnp.abs(u), linear - 0.5
    found = {f"x_{name}": 1 - (channel / width) ** (p * rest) for name, p in MIXTURES.items()}
    return found | {
        "w0": -5.5 + 6 * linear ** (1 + depth**0.3) + 2.5 * zigzag,
        "a0": -0.19 + 0.3 * zigzag + 0.4 * slope,
        "v0": 0.73 - 0.4 * slope,
        "k_k": 0.71 - 0.1 * slope,
        "k_a": jnp.full(width, 1.02),
        "r_k": jnp.full((heads, head), -0.04),
        "ln_scale": jnp.full(width, ((1 + layer) / layers) ** 0.7),
        "ln_bias": jnp.zeros(width),
    }
