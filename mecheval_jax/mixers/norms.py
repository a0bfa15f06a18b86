"""Norms of the channels of each head.

    y = (x - mean) / sqrt(variance + eps) * (offset + scale)      with ``center``, else
    y = x / sqrt(mean of x^2 + eps) * (offset + scale)

The scale is one vector for all heads, or has an entry for every channel of every head.
"""

import flax.linen as nn
import jax

from mecheval_jax.array_types import Array, Float
from mecheval_jax.ops.precision import beside, widened


class HeadNorm(nn.Module):
    """A norm over the last axis of [..., heads, channels].

    Attributes:
        epsilon: Epsilon in the root.
        shared: Whether all heads have one scale.
        offset: Number that is added to the scale, which starts at 1 minus it.
        center: Whether the mean is subtracted.
    """

    epsilon: float = 1e-5
    shared: bool = True
    offset: float = 0.0
    center: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "*axes heads channels"]
    ) -> Float[Array, "*axes heads channels"]:
        """Normalise each head; in float32 or wider."""
        shape = x.shape[-1:] if self.shared else x.shape[-2:]
        start = nn.initializers.constant(1 - self.offset)
        scale = self.param("scale", start, (shape[0] * (1 if self.shared else shape[1]),))
        wide = widened(x)
        if self.center:
            wide = wide - wide.mean(axis=-1, keepdims=True)
        square = (wide * wide).mean(axis=-1, keepdims=True)
        normal = (wide * jax.lax.rsqrt(square + self.epsilon)).astype(x.dtype)
        return normal * beside(self.offset + scale.reshape(shape), x)
