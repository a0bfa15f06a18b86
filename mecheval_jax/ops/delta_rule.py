"""The gated delta rule (Yang et al. 2024a, 2024b).

    S[t] = a[t] (I - beta[t] k[t] k[t]^T) S[t-1] + beta[t] k[t] v[t]^T,    o[t] = S[t]^T q[t]

with S [key, value]. Each token moves the value that the state returns for k by a share beta
towards v. The gate a = exp(log_decay) is 1 in DeltaNet. Keys are expected to have norm 1.

Backends: ``sequential`` (``lax.scan``) and ``chunked``, the WY form: in a chunk that starts
from S_0 the recurrence writes k[t] u[t]^T (see `ops.chunks`) with

    (I + A) u = beta v - (beta a[1..t] k) S_0,    A[t, s] = beta[t] (k[t] . k[s]) a[s+1..t], s < t

and I + A is inverted by `chunks.inverse`.
"""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.errors import choose
from mecheval_jax.ops import chunks
from mecheval_jax.ops.linear_attention import BACKENDS, read
from mecheval_jax.ops.precision import in_float32
from mecheval_jax.sites import (
    NO_ENTRY,
    Entry,
    into_recurrence,
    is_elementwise,
    rewrite_at,
    tokens_of,
)

Maps = tuple[Array, Array]
"""M and W of affine maps S -> M S + W."""


@in_float32
def delta_rule(
    q: Float[Array, "batch length heads key"],
    k: Float[Array, "batch length heads key"],
    v: Float[Array, "batch length heads value"],
    beta: Float[Array, "batch length heads"],
    log_decay: Float[Array, "batch length heads decayed"],
    backend: str = "auto",
) -> Float[Array, "batch length heads value"]:
    """Outputs o of the gated delta rule, starting from a state of zeros.

    Args:
        q: Queries, which read the state.
        k: Keys of norm 1.
        v: Values that the state should return for the keys.
        beta: Share of the way that the state is moved towards the value, 0 to 1.
        log_decay: Logarithm of the gate a, at most 0; the last axis has size 1.
        backend: ``auto`` (chunked), ``sequential`` or ``chunked``.

    Raises:
        UserError: If the backend is unknown.
    """
    if choose("backend", backend, BACKENDS) != "sequential":
        return _chunked(q, k, v, beta, log_decay)

    def advance(state: Array, at_t: tuple[Array, ...]) -> tuple[Array, Array]:
        return delta_rule_step(state, *at_t)

    start = jnp.zeros((q.shape[0], q.shape[2], q.shape[3], v.shape[3]), v.dtype)
    by_time = tuple(jnp.moveaxis(x, 1, 0) for x in (q, k, v, beta, log_decay))
    return jnp.moveaxis(jax.lax.scan(advance, start, by_time)[1], 0, 1)


def delta_rule_step(
    state: Float[Array, "batch heads key value"],
    q_t: Float[Array, "batch heads key"],
    k_t: Float[Array, "batch heads key"],
    v_t: Float[Array, "batch heads value"],
    beta_t: Float[Array, "batch heads"],
    log_decay_t: Float[Array, "batch heads decayed"],
) -> tuple[Float[Array, "batch heads key value"], Float[Array, "batch heads value"]]:
    """Process one token; return the next state and the output."""
    state = _written(state, k_t, v_t, beta_t, jnp.exp(log_decay_t))
    return state, read(state, q_t)


def _written(state: Array, k_t: Array, v_t: Array, beta_t: Array, decay_t: Array) -> Array:
    """The state after the decay and the write of one token."""
    state = decay_t[..., None] * state
    error = beta_t[..., None] * (v_t - read(state, k_t))
    return state + k_t[..., None] * error[..., None, :]


def _chunked(q: Array, k: Array, v: Array, beta: Array, log_decay: Array) -> Array:
    """The WY form; see the module's docstring."""
    length = q.shape[1]
    q, k, v, beta, log_decay = (chunks.split(x) for x in (q, k, v, beta[..., None], log_decay))
    decay = chunks.decays(log_decay)
    index = jnp.arange(chunks.CHUNK)
    earlier = (index[:, None] > index[None, :])[None, None, None]
    inverse = chunks.inverse(jnp.where(earlier, beta * chunks.pairs(k, k, decay.between), 0))
    u = jnp.einsum("...ts,...sv->...tv", inverse, beta * v)
    from_state = jnp.einsum("...ts,...sk->...tk", inverse, beta * decay.start * k)
    return chunks.join(chunks.carry(q, k, u, decay, from_state), length)


@in_float32
def delta_rule_states(
    k: Float[Array, "batch length heads key"],
    v: Float[Array, "batch length heads value"],
    beta: Float[Array, "batch length heads"],
    decay: Float[Array, "batch length heads decayed"],
    entry: Entry = NO_ENTRY,
    backend: str = "auto",
) -> Float[Array, "batch length heads key value"]:
    """States after every token, with an intervention on the states applied.

    Later tokens continue from the rewritten state. ``sequential`` loops over tokens.
    ``chunked`` composes the affine maps S -> M S + W in a parallel scan: a replaced entry has a
    row of zeros in M and its value in W. A mask that differs between value channels gives each
    its own M. An intervention that projects the value channels is not of this form and
    always loops over tokens.

    Args:
        k: Keys of norm 1.
        v: Values that the state should return for the keys.
        beta: Share of the way that the state is moved towards the value, 0 to 1.
        decay: Gate a itself, not its logarithm; the last axis has size 1.
        entry: Intervention on the states (`sites.rewrite`).
        backend: ``auto`` (sequential), ``sequential`` or ``chunked``.

    Raises:
        UserError: If the backend is unknown.
    """
    if choose("backend", backend, BACKENDS) == "chunked" and is_elementwise(entry):
        # Affine maps (M, W) of all tokens, composed in a parallel scan.
        key = k.shape[-1]
        outer = (beta[..., None] * k)[..., :, None] * k[..., None, :]
        move = decay[..., None] * (jnp.eye(key, dtype=k.dtype)[None, None, None] - outer)
        write = (beta[..., None] * k)[..., :, None] * v[..., None, :]
        kept, write = into_recurrence(entry, jnp.ones((1, 1, 1, key, 1), k.dtype), write)
        # Rows of M: [batch, length, heads, value or 1, key, 1].
        move = move[:, :, :, None] * jnp.moveaxis(kept, 4, 3)[..., None]

        def compose(earlier: Maps, later: Maps) -> Maps:
            (M, W), (M_later, W_later) = earlier, later
            if M.shape[3] == 1:
                moved = jnp.einsum("...ij,...jv->...iv", M_later[..., 0, :, :], W)
            else:
                moved = jnp.einsum("...vij,...jv->...iv", M_later, W)
            return jnp.einsum("...ij,...jk->...ik", M_later, M), moved + W_later

        return jax.lax.associative_scan(compose, (move, write), axis=1)[1]

    # Token by token.
    def advance(state: Array, at_t: tuple) -> tuple[Array, Array]:
        token, *rest = at_t
        state = rewrite_at(_written(state, *rest), entry, token)
        return state, state

    start = jnp.zeros((k.shape[0], *k.shape[2:], v.shape[-1]), v.dtype)
    by_time = tuple(jnp.moveaxis(x, 1, 0) for x in (k, v, beta, decay))
    states = jax.lax.scan(advance, start, (tokens_of(entry, k.shape[1]), *by_time))[1]
    return jnp.moveaxis(states, 0, 1)
