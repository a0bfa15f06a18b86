"""Several inputs and outputs of each head: the ranks of Mamba-3's MIMO form.

    v[r] = x_weight[r] x,    y = sum_r o_weight[r] y[r] silu(z_weight[r] z)

channel by channel. With one rank there are no weights.
"""

import flax.linen as nn
import jax

from mecheval_jax.array_types import Array, Float
from mecheval_jax.ops.precision import beside


class HeadRanks(nn.Module):
    """The inputs and outputs of heads.

    Attributes:
        heads: Number of heads.
        ranks: Number of inputs and outputs of each.
        channels: Number of channels of a head.
        gated: Whether there is a gate z.
    """

    heads: int
    ranks: int
    channels: int
    gated: bool = True

    def setup(self):
        if self.ranks > 1:
            shape = (self.heads, self.ranks, self.channels)
            mean = nn.initializers.constant(1 / self.ranks)
            self.x, self.o = self.param("x", mean, shape), self.param("o", mean, shape)
            if self.gated:
                self.z = self.param("z", nn.initializers.ones, shape)

    def inputs(
        self, x: Float[Array, "*axes heads channels"]
    ) -> Float[Array, "*axes heads ranks channels"]:
        """Input of every rank."""
        return self._weighted(x[..., None, :], "x")

    def output(
        self,
        y: Float[Array, "*axes heads ranks channels"],
        z: Float[Array, "*axes inner"] | None,
    ) -> Float[Array, "*axes inner"]:
        """Sum of the outputs of all ranks, each gated by z; heads concatenated."""
        if z is not None:
            z = z.reshape(*y.shape[:-2], 1, self.channels)
            y = y * jax.nn.silu(self._weighted(z, "z"))
        y = self._weighted(y, "o").sum(axis=-2)
        return y.reshape(*y.shape[:-2], -1)

    def _weighted(self, h: Array, name: str) -> Array:
        """An array [..., heads, ranks or 1, channels] times the weights of that name."""
        return h * beside(getattr(self, name), h) if self.ranks > 1 else h
