"""The linear attention of Based (Arora et al. 2024).

    a[t, s] = 1 + u + u^2 / 2,   u = q[t] . k[s] / sqrt(d_feature),   s <= t
    y[t] = W_o sum_s a[t, s] v[s] / (sum_s a[t, s] + 1e-12)

The weights are the second-order Taylor expansion of the softmax's exponential. The state of the
recurrence is sum_s phi(k[s]) [v[s], 1] with phi the feature map `ops.feature_maps.taylor_exp`.
Since phi maps 8 channels to 1 + 8 + 64 features, the quadratic form is cheaper up to
`QUADRATIC_LIMIT` tokens.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import UserError, choose
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.options import OPTIONS, require_heads
from mecheval_jax.mixers.recurrence import STATE_SITES, Recurrence, recurrence
from mecheval_jax.ops.dplr import Update, dplr, dplr_step, read
from mecheval_jax.ops.feature_maps import taylor_exp
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.rotary import rotary
from mecheval_jax.sites import declare

EPSILON = 1e-12
QUADRATIC_LIMIT = 512
"""Greatest length in tokens at which ``auto`` takes ``quadratic``."""
BACKENDS = ("auto", "quadratic", "sequential", "chunked")


class Based(nn.Module):
    """Taylor linear attention.

    Attributes:
        width: Number of channels of the residual stream.
        heads: Number of heads, a divisor of the width.
        feature_width: Number of channels of a head's queries and keys.
        encoding: Encoding of positions in queries and keys: ``none`` or ``rotary``.
        backend: ``quadratic``, a backend of `ops.dplr`, or ``auto``.
    """

    width: int
    heads: int = 1
    feature_width: int = 8
    encoding: str = "none"
    backend: str = "auto"

    SITES = {
        "q": "queries by head",
        "k": "keys by head",
        "v": "values by head",
        "query_features": "feature map of the queries",
        "key_features": "feature map of the keys",
        "write": STATE_SITES["write"] + ": key features times [v, 1]",
        "state": STATE_SITES["state"] + ": sums of key features times [v, 1]",
        "normalizer": "sum of the attention weights of all tokens so far",
        "head_output": "output of each head, divided by the normalizer",
    }
    ENCODINGS = ("none", "rotary")
    HEADS_ADD = True

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return {}

    def __post_init__(self):
        require_heads(self.width, self.heads)
        choose("encoding", self.encoding, self.ENCODINGS)
        if self.encoding == "rotary" and self.feature_width < 2:
            raise UserError(
                f"{OPTIONS}feature_width is {self.feature_width}: rotary positions turn pairs of "
                "channels; it must be at least 2 with them"
            )
        choose("backend", self.backend, BACKENDS)
        super().__post_init__()

    def setup(self):
        declare(self)

        def dense(features: int) -> nn.Dense:
            return nn.Dense(features, use_bias=False, kernel_init=initializers.dense)

        self.proj_q = dense(self.heads * self.feature_width)
        self.proj_k = dense(self.heads * self.feature_width)
        self.proj_v = dense(self.width)
        self.proj_o = dense(self.width)

    def _project(
        self, read: Array, x: Array, read_index: Array, index: Array
    ) -> tuple[Array, Array, Array]:
        """Queries of `read`, keys and values of `x`, by head, with their positions."""
        projections = (self.proj_q(read), self.proj_k(x), self.proj_v(x))
        q, k, v = (p.reshape(*p.shape[:-1], self.heads, -1) for p in projections)
        q, k, v = self.q(q), self.k(k), self.v(v)
        if self.encoding == "rotary":
            q, k = rotary(q, read_index), rotary(k, index)
        return q, k, v

    def _sums(
        self, q: Array, k: Array, v: Array, distance: Array, positions: Array | None
    ) -> Array:
        """Sums of weights times [v, 1] over the tokens at a `distance` >= 0 back."""
        v = jnp.concatenate([v, jnp.ones_like(v[..., :1])], axis=-1)
        maps = (self.query_features, self.key_features)
        linear = positions is None and self._backend(v.shape[1]) != "quadratic"

        @functools.cache  # a site may be called only once
        def features() -> tuple[Array, Array]:
            """Features of queries and keys, through their sites."""
            return tuple(site(taylor_exp(h)) for site, h in zip(maps, (q, k), strict=True))

        if any(site.in_use() for site in maps):
            features()

        def fast() -> Array:
            """Sums without states."""
            if linear:
                no_decay = jnp.zeros((*v.shape[:3], 1), v.dtype)
                queries, keys = features()
                return dplr(queries, Update(keys, v, no_decay), self._backend(v.shape[1]))
            if any(site.replaced() for site in maps):
                weights = jnp.einsum("blhf,bshf->bhls", *features())
            else:
                u = jnp.einsum("blhk,bshk->bhls", q, k) * self.feature_width**-0.5
                weights = 1 + u + u**2 / 2
            weights = jnp.where((distance >= 0)[:, None], weights, 0)
            return jnp.einsum("bhls,bshv->blhv", weights, v)

        form = Recurrence(
            fast,
            decay=lambda: jnp.ones((*v.shape[:2], 1, 1, 1), v.dtype),
            write=lambda: features()[1][..., None] * v[..., None, :],
            read=lambda states: read(at_positions(states, positions), features()[0]),
        )
        return recurrence(self, form)

    def _backend(self, length: int) -> str:
        if self.backend != "auto":
            return self.backend
        return "quadratic" if length <= QUADRATIC_LIMIT else "chunked"

    def _out(self, sums: Array) -> Array:
        """Output projection of the weighted mean of values."""
        heads = sums[..., :-1] / (self.normalizer(sums[..., -1:]) + EPSILON)
        return self.proj_o(self.head_output(heads).reshape(*sums.shape[:-2], self.width))

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        index = jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2])
        read_index = at_positions(index, positions)
        q, k, v = self._project(at_positions(x, positions), x, read_index, index)
        distance = read_index[..., None] - index[:, None, :]
        return self._out(self._sums(q, k, v, distance, positions))

    def initial_state(self, batch: int, max_length: int) -> dict[str, Array]:
        """Empty sums, whose size does not depend on `max_length`."""
        del max_length
        features = 1 + self.feature_width + self.feature_width**2
        sums = jnp.zeros((batch, self.heads, features, self.width // self.heads + 1))
        return {"sums": sums, "position": jnp.zeros((), jnp.int32)}

    def step(
        self, state: dict[str, Array], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        x, index = x_t[:, None], jnp.broadcast_to(state["position"], (len(x_t), 1))
        q, k, v = (h[:, 0] for h in self._project(x, x, index, index))
        v = jnp.concatenate([v, jnp.ones_like(v[..., :1])], axis=-1)
        no_decay = jnp.zeros((*v.shape[:2], 1), v.dtype)
        update = Update(taylor_exp(k), v, no_decay)
        sums, o = dplr_step(state["sums"], taylor_exp(q), update)
        return {"sums": sums, "position": state["position"] + 1}, self._out(o)
