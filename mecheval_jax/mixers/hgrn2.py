"""HGRN2 (Qin et al. 2024).

    f = b + (1 - b) sigmoid(W_f x);   S <- diag(f) S + (1 - f) (W_i x)^T    (a decay for each key)
    o = S^T silu(W_q x) / sqrt(key);   y = W_o RMSNorm(o)                   (over all channels)

b is a lower bound of the forget gates that rises from layer to layer: with p [layer, channel], a
parameter that all layers share, b of layer l is the sum of softmax(p) over the layers 1 to l, 0 in
layer 0. See `mixers.matrix_state`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.mixers.matrix_state import SITES, MatrixStateMixer
from mecheval_jax.ops.precision import widened
from mecheval_jax.ops.stabilizer import bounded_below


class LowerBounds(nn.Module):
    """The lower bounds of the forget gates of all layers.

    Attributes:
        layers: Number of layers of the model.
        width: Number of channels of the gates of a layer.
    """

    layers: int
    width: int

    def setup(self):
        self.logits = self.param("logits", nn.initializers.zeros, (self.layers, self.width))

    def __call__(self, layer: int) -> Float[Array, " width"]:
        """Lower bounds of one layer."""
        # Wide: what a bound near 1 leaves would be wrong by some percent in half precision.
        return jax.nn.softmax(widened(self.logits), axis=0)[1 : layer + 1].sum(axis=0)

    def logarithms(self, layer: int) -> tuple[Float[Array, " width"], Float[Array, " width"]]:
        """Logarithms of the lower bounds b of one layer above the first, and of 1 - b."""
        shares = jax.nn.log_softmax(bounded_below(widened(self.logits)), axis=0)
        below, above = shares[1 : layer + 1], jnp.delete(shares, slice(1, layer + 1), axis=0)
        return jax.nn.logsumexp(below, axis=0), jax.nn.logsumexp(above, axis=0)


class HGRN2(MatrixStateMixer):
    """Linear attention whose keys are what the forget gates leave; see `MatrixStateMixer`.

    Attributes:
        layer: Index of the layer, from 0.
        layers: Number of layers of the model.
        shared: Lower bounds that all layers share; None for the mixer's own.
    """

    HEADS_ADD = False  # the norm is over all of them

    gated: bool = False
    layer: int = 0
    layers: int = 1
    shared: nn.Module | None = None

    SHARED = "lower_bounds"
    """Name in the model of what the mixers of this kind share."""

    SITES = {name: meaning for name, meaning in SITES.items() if name != "gate"} | {
        "k": "forget gates by head, before their sigmoid",
    }

    @nn.nowrap
    def shared_module(self) -> LowerBounds:
        """What the mixers of this kind share in a model."""
        return LowerBounds(self.layers, self.keys)

    def setup(self):
        super().setup()
        if self.layer:
            self.lower_bounds = self.shared_module() if self.shared is None else self.shared

    def _by_head(self, bounds: Array, raw: Array) -> Array:
        """Bounds of all channels as they belong to forget gates [..., heads, key]."""
        return bounds.reshape(raw.shape[-2:])[(None,) * (raw.ndim - 2)]

    def prepare(self, q: Array, k: Array, index: Array) -> tuple[Array, Array]:
        """Activated queries, and what the forget gates leave."""
        del index
        left = jax.nn.sigmoid(-k)
        if self.layer:
            left = ((1 - self._by_head(self.lower_bounds(self.layer), k)) * left).astype(k.dtype)
        return jax.nn.silu(q) * q.shape[-1] ** -0.5, left

    def log_decay(self, x: Array, raw: Array) -> Array:
        """Logarithms of the forget gates, finite however small these are."""
        del x
        if not self.layer:
            return bounded_below(jax.nn.log_sigmoid(raw))
        bound, rest = (self._by_head(h, raw) for h in self.lower_bounds.logarithms(self.layer))
        gate = rest + jax.nn.log_sigmoid(bounded_below(widened(raw)))
        return jnp.logaddexp(bound, gate)  # of bound + (1 - bound) sigmoid

    def _out(self, heads: Array, x: Array) -> Array:
        """Output projection of the norm of all heads together."""
        return self.o_proj(self.o_norm(heads.reshape(*heads.shape[:-2], -1)))
