"""Linear recurrences whose decay, write and state are sites.

    h[t] = decay[t] h[t-1] + write[t]

The fast forms of such a recurrence do not store its states. If one of the sites is captured, the
states are computed in addition, by `ops.linear_recurrence`; if one is replaced, the outputs are
read from these states instead. Otherwise the compiled program has no states.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.ops.dplr import Update, dplr, dplr_states, read
from mecheval_jax.ops.linear_recurrence import linear_recurrence
from mecheval_jax.ops.positions import at_positions

STATE_SITES = {
    "decay": "factor by which the state is multiplied at this token",
    "write": "term that this token adds to the state",
    "state": "state after this token; later tokens continue from a replaced one",
}
ERASE = "matrix whose product with the state before this token is added to the state"
"""What the site erase holds, of mixers that can take back what they have written."""


def recurrence(
    module: nn.Module,
    fast: Callable[[], Array],
    decay: Callable[[], Array],
    write: Callable[[], Array],
    read: Callable[[Array], Array],
    backend: str = "auto",
) -> Array:
    """Outputs of a recurrence through the sites write, state and, if the mixer has it, decay.

    Args:
        module: Mixer that owns the sites.
        fast: Function that computes the outputs without states, for when no site is replaced.
        decay: Function that computes the decays, which broadcast to the writes.
        write: Function that computes the writes, [batch, length, ...].
        read: Function from the states to the outputs.
        backend: Backend of `ops.linear_recurrence`.
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


def passed_decay(
    module: nn.Module, log_decay: Float[Array, "batch length heads decayed"]
) -> Float[Array, "batch length heads decayed"]:
    """Logarithms of the decays that have passed the site decay, if the mixer has it."""
    if "decay" in module.SITES and module.decay.in_use():
        decay = module.decay(jnp.exp(log_decay)[..., None])[..., 0]
        if module.decay.replaced():
            return jnp.log(jnp.maximum(decay, jnp.finfo(decay.dtype).tiny))
    return log_decay


def dplr_recurrence(
    module: nn.Module,
    q: Float[Array, "batch length heads key"],
    update: Update,
    backend: str = "auto",
    positions: Int[Array, "batch queries"] | None = None,
) -> Float[Array, "batch positions heads value"]:
    """`ops.dplr` at some positions, through the sites write, state and, if there is one, erase.

    States are [batch, length, heads, key, value]. The decays have passed their site. A mixer whose
    decays are bounded says so by `LEAST_LOG_DECAY`, which a replaced decay need not keep.
    """
    sites = [getattr(module, name) for name in ("write", "erase", "state") if name in module.SITES]
    if any(site.in_use() for site in sites):
        decay, write, entry = update.decay(), module.write(update.write()), module.state.entry()
        if update.x is None:
            states = linear_recurrence(decay, write, backend=backend, entry=entry)
        else:
            states = dplr_states(decay, module.erase(update.erase()), write, entry, backend)
        states = module.state(states, rewritten=True)
        if any(site.replaced() for site in sites):
            return read(at_positions(states, positions), at_positions(q, positions))
    free = "decay" in module.SITES and module.decay.replaced()
    least = -math.inf if free else getattr(module, "LEAST_LOG_DECAY", -math.inf)
    return dplr(q, update, backend, least, positions)
