"""Rotary positions (Su et al. 2021), and the slopes of ALiBi (Press et al. 2022).

Rotary positions in the half-split layout: channel i of the first half and channel i of the
second half form a plane, which is rotated by the angle position * base^(-i / half).
"""

import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.ops.precision import wide_type


def rotary(
    x: Float[Array, "batch length heads key"],
    positions: Int[Array, "batch length"],
    base: float = 10_000.0,
    channels: int | None = None,
) -> Float[Array, "batch length heads key"]:
    """Rotate queries or keys by their positions.

    Args:
        x: Queries or keys by head.
        positions: Position of each token.
        base: Base of the angular frequencies; the slowest is base^(-(half - 1) / half) radians
            per token, with half the number of planes.
        channels: Number of channels that are rotated, the first of each head; all if None.
    """
    channels = x.shape[-1] if channels is None else channels
    half = channels // 2
    rates = base ** (-jnp.arange(half, dtype=wide_type(x)) / half)
    angle = positions[..., None, None] * rates[None, None, None]
    turned = turn(x[..., : 2 * half], angle, neighbours=False)
    return jnp.concatenate([turned, x[..., 2 * half :]], axis=-1)


def turn(
    x: Float[Array, "*axes key"], angle: Float[Array, "*#axes planes"], neighbours: bool
) -> Float[Array, "*axes key"]:
    """Turn planes of two channels by given angles; channels beyond the planes stay.

    Args:
        x: Vectors that are turned, of an even number of channels.
        angle: Angle of each plane, at most key / 2 of them.
        neighbours: Whether channels 2i and 2i + 1 form a plane; else i and key / 2 + i.
    """
    half, planes = x.shape[-1] // 2, angle.shape[-1]
    pairs = x.reshape(*x.shape[:-1], *((half, 2) if neighbours else (2, half)))
    first, second = jnp.moveaxis(pairs, -1 if neighbours else -2, 0)
    cosine, sine = jnp.cos(angle).astype(x.dtype), jnp.sin(angle).astype(x.dtype)
    u, w = first[..., :planes], second[..., :planes]
    first = jnp.concatenate([u * cosine - w * sine, first[..., planes:]], axis=-1)
    second = jnp.concatenate([u * sine + w * cosine, second[..., planes:]], axis=-1)
    return jnp.stack([first, second], axis=-1 if neighbours else -2).reshape(x.shape)


def alibi_slopes(heads: int) -> np.ndarray:
    """Penalty per token of distance of each head: 2^(-8/n), 2^(-16/n), ... for n a power of 2.

    For other n the slopes are those of the power of 2 below, then every second one of the
    power above, as in the authors' code.
    """
    power = 2 ** int(np.log2(heads))
    slopes = 2.0 ** (-8 * np.arange(1, power + 1) / power)
    between = 2.0 ** (-4 * np.arange(1, 2 * power + 1, 2) / power)
    return np.concatenate([slopes, between])[:heads].astype(np.float32)
