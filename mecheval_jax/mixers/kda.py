"""Kimi Delta Attention (arXiv 2510.26692) and Gated DeltaNet-2 (arXiv 2605.22791).

As `mixers.delta_net`, but every key channel has a decay of its own, and the output gate is a
sigmoid of a map of low rank:

    f = W_2 W_1 x + b;   log a = -exp(A_log) softplus(f),   bounded: -5 sigmoid(exp(A_log) f)
    KDA:               S <- Diag(a) S;   S <- S + k beta (v - S^T k)^T
    Gated DeltaNet-2:  S <- Diag(a) S;   S <- S + k (w v - S^T (b k))^T

In Gated DeltaNet-2 b in (0, 1)^key says which channels of the key are erased, and w in (0, 1)^value
which channels of the value are written.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.delta_net import DELTA_SITES, DeltaNet
from mecheval_jax.mixers.projection import together
from mecheval_jax.ops.dplr import Update

LOWEST = -5.0
"""Logarithm of the strongest decay of the bounded form."""


class KDA(DeltaNet):
    """The delta rule with one decay per key channel; see `DeltaNet` for the other attributes.

    Attributes:
        bounded: Whether no decay is below exp(-5).
        gate_bias: Whether the output gate has a bias.
    """

    gated: bool = True
    bounded: bool = False
    gate_bias: bool = True

    SITES = DELTA_SITES
    WITHOUT_DECAY = ("A_log", "dt_bias")

    def setup(self):
        super().setup()
        rank = self.values // self.heads
        self.decay_down, self.decay_up = self.dense(rank), self.dense(self.keys)
        self.gate_down, self.gate_up = self.dense(rank), self.dense(self.values, self.gate_bias)
        rates = initializers.log_uniform_rates(1, 16)
        rates = nn.initializers.zeros if self.bounded else rates
        self.A_log = self.param("A_log", rates, (self.heads,))
        self.dt_bias = self.param("dt_bias", initializers.time_step_bias, (self.keys,))

    def log_decay(self, x: Array, raw: Array) -> Array:
        """Logarithms of the decays, [..., heads, key]."""
        del raw
        lead = (None,) * (x.ndim - 1)
        f = self.decay_up(self.decay_down(x)) + self.dt_bias[lead]
        f, rate = f.reshape(*x.shape[:-1], self.heads, -1), jnp.exp(self.A_log)[(*lead, ..., None)]
        return LOWEST * jax.nn.sigmoid(rate * f) if self.bounded else -rate * jax.nn.softplus(f)

    def output_gate(self, x: Array) -> Array:
        """Factor of the heads' outputs."""
        return jax.nn.sigmoid(self.gate(self.gate_up(self.gate_down(x))))


class GatedDeltaNet2(KDA):
    """KDA that erases and writes with a strength for each channel; see there."""

    SITES = {name: text for name, text in DELTA_SITES.items() if name != "beta"} | {
        "erase_gate": "share of each channel of the key that is erased",
        "write_gate": "share of each channel of the value that is written",
    }

    def setup(self):
        super().setup()
        self.w_proj = self.dense(self.values)

    @property
    def shares(self) -> int:
        """Number of shares b of a token, one for each channel of the keys."""
        return self.keys

    def update(self, x: Array, raw: Array, k: Array, v: Array, log_decay: Array) -> Update:
        """Erase what the decayed state returns for b k, and write w v for k."""
        del raw
        erased, written = together(x, self.b_proj, self.w_proj)
        b = self.erase_gate(self.share(erased).reshape(k.shape))
        w = self.write_gate(jax.nn.sigmoid(written).reshape(v.shape))
        return Update(k, w * v, log_decay, x=jnp.exp(log_decay) * b * k)
