"""Linear recurrences whose decay, write and state are sites.

The fast forms of a recurrence never store its states. They are computed beside it, by
`ops.linear_recurrence`, where somebody looks; and where decay, write or state is rewritten, the
outputs are read from them. Otherwise nothing of this is in the compiled program.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.ops.linear_attention import linear_attention, read
from mecheval_jax.ops.linear_recurrence import linear_recurrence

STATE_SITES = {
    "decay": "factor by which the state fades at this token",
    "write": "what this token adds to the state",
    "state": "the state after this token; a replaced one is what later tokens go on from",
}


def recurrence(
    module: nn.Module,
    fast: Callable[[], Array],
    decay: Callable[[], Array],
    write: Callable[[], Array],
    read: Callable[[Array], Array],
    backend: str = "auto",
) -> Array:
    """The outputs of a recurrence, through the sites decay (if it has one), write and state.

    Args:
        module: whose sites they are.
        fast: computes the outputs where no site is replaced.
        decay: computes the decays, of a shape that broadcasts to the writes'.
        write: computes the writes [batch, length, ...].
        read: computes the outputs from the states.
        backend: of `ops.linear_recurrence`.
    """
    sites = [getattr(module, name) for name in STATE_SITES if name in module.SITES]
    if not any(site.in_use() for site in sites):
        return fast()
    decays, writes = decay(), module.write(write())
    if "decay" in module.SITES:
        decays = module.decay(decays)
    states = linear_recurrence(decays, writes, backend=backend, entry=module.state.entry())
    states = module.state(states, rewritten=True)
    return read(states) if any(site.replaced() for site in sites) else fast()


def matrix_recurrence(
    module: nn.Module,
    q: Float[Array, "batch length heads key"],
    k: Float[Array, "batch length heads key"],
    v: Float[Array, "batch length heads value"],
    log_decay: Float[Array, "batch length heads decayed"],
    backend: str = "auto",
) -> Float[Array, "batch length heads value"]:
    """`ops.linear_attention` through the sites; the state is [..., heads, key, value]."""
    return recurrence(
        module,
        fast=lambda: linear_attention(q, k, v, log_decay, backend),
        decay=lambda: jnp.exp(log_decay)[..., None],
        write=lambda: k[..., None] * v[..., None, :],
        read=lambda states: read(states, q),
        backend=backend,
    )
