"""A mixer of one's own that does not say what it mixes locally."""

import flax.linen as nn
import jax

from mecheval_jax.ops.positions import at_positions


class Silent(nn.Module):
    """The token before, projected."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array, positions: jax.Array | None = None) -> jax.Array:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        before = jax.numpy.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        return at_positions(nn.Dense(self.width)(before), positions)
