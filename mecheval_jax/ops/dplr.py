"""Recurrences of a matrix whose transition is diagonal plus low rank (DPLR).

    S[t] = Diag(a[t]) S[t-1] + y[t] (S[t-1]^T x[t])^T + k[t] u[t]^T,    o[t] = S[t]^T q[t]

with S [key, value]. Each token lets the state decay, reads it along x and adds what it has read
along y, and writes a value u for a key k. x reads the state as it was before the token; where an
architecture reads it after the decay, x = a x'. If there is no y, it is -k: what x reads is
erased from the key that is written. Without x it is linear attention with decay.

=====================  ================  ==========  ===============  ==============
..                     a                 u           x                y
=====================  ================  ==========  ===============  ==============
GLA, RetNet, Mamba-2   any               v           none
DeltaNet               1                 beta v      beta k           -k
Gated DeltaNet, KDA    per head, key     beta v      beta a k         -k
Gated DeltaNet-2       per key           w v         a b k            -k
Comba                  per head          beta v      beta p           -k
RWKV-7                 per key           v           kappa            -alpha kappa
=====================  ================  ==========  ===============  ==============

Backends: ``sequential`` (``lax.scan``) and ``chunked`` (`ops.chunks`).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import choose
from mecheval_jax.ops.chunks import LONGEST, chunked, read_once
from mecheval_jax.ops.mapping import over_tokens
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import exp_wide, in_float32, wide_type
from mecheval_jax.sites import (
    NO_ENTRY,
    Entry,
    into_recurrence,
    is_elementwise,
    rewrite_at,
    tokens_of,
)

BACKENDS = ("auto", "sequential", "chunked")

Maps = tuple[Array, Array]
"""M and W of affine maps S -> M S + W."""


class Update(NamedTuple):
    """What tokens do to the state; arrays are [batch, length, heads, ...] or [batch, heads, ...].

    Attributes:
        k: Keys, the directions in which values are written.
        u: Values that are written.
        log_decay: Logarithms of the decays a, at most 0; the last axis has size key, or 1.
        x: Directions in which the state before the token is read; None if it only decays.
        y: Directions in which what x reads is added; None for -k.
    """

    k: Float[Array, "*axes key"]
    u: Float[Array, "*axes value"]
    log_decay: Float[Array, "*axes decayed"]
    x: Float[Array, "*axes key"] | None = None
    y: Float[Array, "*axes key"] | None = None

    def decay(self) -> Float[Array, "*axes decayed 1"]:
        """Factors of the rows of the state, in float32 or wider: near 1 others are 1."""
        return exp_wide(self.log_decay)[..., None]

    def write(self) -> Float[Array, "*axes key value"]:
        """What is added to the state, k u^T."""
        return self.k[..., None] * self.u[..., None, :]

    def erase(self) -> Float[Array, "*axes key key"]:
        """Matrix y x^T, whose product with the state is added to it as well; 0 without an x."""
        y = -self.k if self.y is None else self.y
        x = jnp.zeros_like(self.k) if self.x is None else self.x
        return y[..., None] * x[..., None, :]


def read(
    state: Float[Array, "*axes key value"], q: Float[Array, "*axes key"]
) -> Float[Array, "*axes value"]:
    """Read each state with its query, S^T q."""
    return jnp.einsum("...kv,...k->...v", state, q)


@in_float32
def dplr(
    q: Float[Array, "batch length heads key"],
    update: Update,
    backend: str = "auto",
    least: float = -math.inf,
    positions: Int[Array, "batch queries"] | None = None,
) -> Float[Array, "batch positions heads value"]:
    """Outputs o of the recurrence, starting from a state of zeros.

    Args:
        q: Queries, which read the state after their token.
        update: What the tokens do to the state.
        backend: ``auto`` (chunked), ``sequential`` or ``chunked``.
        least: What no logarithm of a decay is below; if that is near 0, chunks are cheaper.
        positions: Tokens whose outputs are returned; all if None. A single one is read without the
            outputs of the others; with x only in sequences of one chunk, since what a token writes
            then depends on the state, which has to be carried to its chunk.

    Raises:
        UserError: If the backend is unknown.
    """
    sequential = choose("backend", backend, BACKENDS) == "sequential"
    if positions is not None:
        one_chunk = update.x is None or q.shape[1] <= LONGEST
        if positions.shape[1] == 1 and one_chunk and not sequential:
            return read_once(at_positions(q, positions), update, positions, least)
        return at_positions(dplr(q, update, backend, least), positions)
    if not sequential:
        return chunked(q, update, least)

    def advance(state: Array, at_t: tuple[Array, Update]) -> tuple[Array, Array]:
        return dplr_step(state, *at_t)

    start = jnp.zeros((q.shape[0], *q.shape[2:], update.u.shape[-1]), update.u.dtype)
    return over_tokens(advance, start, (q, update))


def dplr_step(
    state: Float[Array, "batch heads key value"],
    q_t: Float[Array, "batch heads key"],
    update_t: Update,
) -> tuple[Float[Array, "batch heads key value"], Float[Array, "batch heads value"]]:
    """Process one token; return the next state and the output."""
    before, state = state, update_t.decay() * state + update_t.write()
    if update_t.x is not None:
        y = -update_t.k if update_t.y is None else update_t.y
        state = state + y[..., None] * read(before, update_t.x)[..., None, :]
    return state, read(state, q_t)


def dplr_states(
    decay: Float[Array, "batch length heads decayed 1"],
    erase: Float[Array, "batch length heads key key"],
    write: Float[Array, "batch length heads key value"],
    entry: Entry = NO_ENTRY,
    backend: str = "auto",
) -> Float[Array, "batch length heads key value"]:
    """States after every token, S <- (Diag(a) + E) S + W, with an intervention on them applied.

    They are in the dtype of `write`, and computed in float32 or wider. Later tokens continue from
    the rewritten state. ``sequential`` loops over tokens.
    ``chunked`` composes the affine maps S -> M S + W in a parallel scan: a replaced entry has a
    row of zeros in M and its value in W. A mask that differs between value channels gives each
    its own M. An intervention that projects the value channels is not of this form and
    always loops over tokens.

    Args:
        decay: Decays a.
        erase: Matrices E, y x^T if nobody has changed them.
        write: Matrices W, k u^T likewise.
        entry: Intervention on the states (`sites.rewrite`).
        backend: ``auto`` (sequential), ``sequential`` or ``chunked``.

    Raises:
        UserError: If the backend is unknown.
    """
    narrow = write.dtype
    wide = wide_type(decay, erase, write)
    decay, erase, write = (part.astype(wide) for part in (decay, erase, write))
    if choose("backend", backend, BACKENDS) == "chunked" and is_elementwise(entry):
        # Affine maps (M, W) of all tokens, composed in a parallel scan.
        key = erase.shape[-1]
        move = decay * jnp.eye(key, dtype=erase.dtype)[None, None, None] + erase
        kept, write = into_recurrence(entry, jnp.ones((1, 1, 1, key, 1), erase.dtype), write)
        # Rows of M: [batch, length, heads, value or 1, key, 1].
        move = move[:, :, :, None] * jnp.moveaxis(kept, 4, 3)[..., None]

        def compose(earlier: Maps, later: Maps) -> Maps:
            (M, W), (M_later, W_later) = earlier, later
            if M.shape[3] == 1:
                moved = jnp.einsum("...ij,...jv->...iv", M_later[..., 0, :, :], W)
            else:
                moved = jnp.einsum("...vij,...jv->...iv", M_later, W)
            return jnp.einsum("...ij,...jk->...ik", M_later, M), moved + W_later

        return jax.lax.associative_scan(compose, (move, write), axis=1)[1].astype(narrow)

    # Token by token.
    def advance(state: Array, at_t: tuple) -> tuple[Array, Array]:
        token, decay_t, erase_t, write_t = at_t
        state = rewrite_at(decay_t * state + erase_t @ state + write_t, entry, token).astype(wide)
        return state, state

    start, tokens = jnp.zeros_like(write[:, 0]), tokens_of(entry, write.shape[1])
    return over_tokens(advance, start, (decay, erase, write), (tokens,)).astype(narrow)
