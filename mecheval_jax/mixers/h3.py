"""H3 (Fu et al. 2023): a shift and a diagonal state space model around an outer product.

    k <- shift(k) + D_k k;    kv[i, j] = k[i] v[j] in every head
    y = S4D(kv) + D kv;       o[j] = sum_i q[i] y[i, j];    out = W_o o + b_o

The kernels of shift and S4D are those of `ops.ssm_kernels`. The defaults, d_state equal to the
length limit and heads of size 2, are those of arXiv 2505.15105. Channels of o are ordered (j,
head) and those of q, k and v (head, i), as in the authors' code.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int, Key
from mecheval_jax.errors import UserError
from mecheval_jax.mesh_axes import DOCUMENTS, MODEL, is_shared_out, spread
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.options import OPTIONS, divisors_near
from mecheval_jax.mixers.projection import Projection
from mecheval_jax.mixers.s4d import S4DKernel
from mecheval_jax.ops import ssm_kernels
from mecheval_jax.ops.long_convolution import long_convolution
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import beside
from mecheval_jax.sites import declare


def _first(key: Key, shape: Sequence[int]) -> Array:
    """Initializer that is 1 at the first entry of the state, where the input enters, else 0."""
    del key
    return jnp.zeros(shape).at[:, 0].set(1)


class H3(nn.Module):
    """A layer of H3.

    Attributes:
        width: Number of channels of the residual stream.
        max_length: Length limit of the model, in tokens.
        d_state: Size of both states; 0 for the length limit.
        head_dim: Number of channels of a head.
        discretization: Discretization of the diagonal model: ``bilinear`` or ``zoh``.
    """

    MAY_BE_ZERO = ("d_state",)

    width: int
    max_length: int
    d_state: int = 0
    head_dim: int = 2
    discretization: str = "bilinear"

    SITES = {
        "q": "queries",
        "k": "keys, before the shift",
        "v": "values by head",
        "shift_output": "keys by head, after the shift and its skip",
        "write": "outer products of keys and values [..., i, j, heads]",
        "ssm_output": "output of the diagonal model for these products, plus D times the products",
        "head_output": "output of each head, [..., j, heads]",
    }

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return {"shift_output": self.state_size - 1}

    def __post_init__(self):
        if self.width % self.head_dim:
            raise UserError(
                f"{OPTIONS}head_dim is {self.head_dim}: width {self.width} is not divisible by it; "
                f"it is by {divisors_near(self.width, self.head_dim)}"
            )
        ssm_kernels.check(self.state_size, self.discretization)
        super().__post_init__()

    @property
    def state_size(self) -> int:
        """Size of both states; an odd length limit is rounded up to whole conjugate pairs."""
        return self.d_state or self.max_length + self.max_length % 2

    @property
    def heads(self) -> int:
        """Number of heads."""
        return self.width // self.head_dim

    def setup(self):
        declare(self)
        self.q_proj, self.k_proj, self.v_proj = (
            nn.Dense(self.width, kernel_init=initializers.dense) for _ in range(3)
        )
        self.out_proj = Projection(self.width, (self.width,), True, initializers.dense)
        shift = (self.width, self.state_size)
        self.shift_B = self.param("shift_B", _first, shift)
        self.shift_C = self.param("shift_C", initializers.uniform(self.state_size**-0.5), shift)
        self.shift_D = self.param("shift_D", nn.initializers.normal(1.0), (self.width,))
        self.kernel = S4DKernel(self.heads, self.state_size, self.discretization)
        self.D = self.param("D", nn.initializers.normal(1.0), (self.heads,))

    def _project(self, read: Array, x: Array) -> tuple[Array, Array, Array]:
        """Queries of `read`, keys and values of `x`."""
        return self.q(self.q_proj(read)), self.k(self.k_proj(x)), self.v_proj(x)

    def _heads(self, h: Array) -> Array:
        """Reshape channels (head, i) to [..., i, heads]."""
        h = jnp.swapaxes(h.reshape(*h.shape[:-1], -1, self.head_dim), -1, -2)
        return spread(h, DOCUMENTS, *(None,) * (h.ndim - 2), MODEL)

    def _outer(self, k: Array, v: Array) -> Array:
        """Outer products of keys and values, [..., i, j, heads]."""
        k, v = self.shift_output(self._heads(k)), self.v(self._heads(v))
        return self.write(k[..., :, None, :] * v[..., None, :, :])

    def _read(self, q: Array, y: Array) -> Array:
        """Output projection of what the queries read."""
        o = self.head_output(jnp.einsum("...ih,...ijh->...jh", self._heads(q), y))
        # The weights take the shape of o, not o theirs: its heads may be on several devices.
        kernel = spread(self.out_proj.kernel).reshape(*o.shape[-2:], self.width)
        out = jnp.einsum("...jh,jhd->...d", o, spread(kernel, None, MODEL))
        return out + beside(self.out_proj.bias, out)

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        batch, length = x.shape[:2]
        q, k, v = self._project(at_positions(x, positions), x)
        taps = ssm_kernels.shift_kernel(self.shift_B, self.shift_C, length)
        shifted = long_convolution(k, taps, inner=is_shared_out(self.heads))
        k = shifted + beside(self.shift_D, k) * k
        kv = self._outer(k, v)
        # Pairs (i, j) become documents, since they share the kernels of their heads.
        size = self.head_dim
        rows = jnp.moveaxis(kv, 1, 3).reshape(batch * size**2, length, -1)
        read = None if positions is None else jnp.repeat(positions, size**2, axis=0)
        y = long_convolution(rows, self.kernel(length), positions=read)
        y = jnp.moveaxis(y.reshape(batch, size, size, y.shape[1], -1), 3, 1)
        own = at_positions(kv, positions)
        return self._read(q, self.ssm_output(y + beside(self.D, own) * own))

    def initial_state(self, batch: int, max_length: int) -> dict[str, Array]:
        """Empty states, whose sizes do not depend on `max_length`."""
        del max_length
        size = self.head_dim
        return {
            "shift": jnp.zeros((batch, self.width, self.state_size)),
            "ssm": jnp.zeros(
                (batch, size, size, self.heads, self.state_size // 2), jnp.result_type(complex)
            ),
        }

    def step(
        self, state: dict[str, Array], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
        """Mix one token; return the next states and the output."""
        q, k, v = self._project(x_t, x_t)
        older = jnp.pad(state["shift"], ((0, 0), (0, 0), (1, 0)))[..., :-1]
        shift = older + self.shift_B[None] * k[..., None]
        k = (shift * self.shift_C[None]).sum(axis=-1) + beside(self.shift_D, k) * k
        kv = self._outer(k, v)
        ssm, y = self.kernel.step(state["ssm"], kv)
        y = self.ssm_output(y + beside(self.D, kv) * kv)
        return {"shift": shift, "ssm": ssm}, self._read(q, y)
