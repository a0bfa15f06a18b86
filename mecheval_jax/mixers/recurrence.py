"""Linear recurrences whose decay, write and state are sites.

    h[t] = decay[t] h[t-1] + write[t]

The fast forms of such a recurrence do not store its states. If one of the sites is captured, the
states are computed in addition, by `ops.linear_recurrence`; if one is replaced, the outputs are
read from these states instead. Otherwise the compiled program has no states.

If a site is replaced and nothing is captured, nobody needs the states of all tokens. A loop over
tokens then holds one of them, if the mixer gives what a single token's is computed from. For Mamba
(two layers of width 64, 64 documents of 35 tokens, 2 cores) a run with such a replacement takes 7
to 10 ms in place of 36. Shifts are left to the other form: attribution patching takes slopes of the
shifts of all sites at once, and those of the loops take 1.4 times as long.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.ops.dplr import Update, dplr, dplr_states, read
from mecheval_jax.ops.linear_recurrence import linear_recurrence, resolve_backend
from mecheval_jax.ops.mapping import over_tokens
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import exp_wide, wide_type
from mecheval_jax.sites import NO_ENTRY, Site, rewrite_at, steps

STATE_SITES = {
    "decay": "factor by which the state is multiplied at this token",
    "write": "term that this token adds to the state",
    "state": "state after this token; later tokens continue from a replaced one",
}
ERASE = "matrix whose product with the state before this token is added to the state"
"""What the site erase holds, of mixers that can take back what they have written."""


LEAST_DECAY = 1e-30
"""What stands for a replaced decay of 0, which has no logarithm: slopes times it are still numbers
of 32 bits."""


class Recurrence(NamedTuple):
    """How a mixer computes its recurrence.

    Attributes:
        fast: Function that computes the outputs without states, for when no site is replaced.
        decay: Function that computes the decays, which broadcast to the writes.
        write: Function that computes the writes, [batch, length, ...].
        read: Function from the states to the outputs.
        tokens: Arrays [batch, length, ...] that decay and write are called with, and read after
            the states. All three work on one token as on many, and are called with arrays
            [batch, 1, ...] as well. Empty if they need no arguments; then there is no loop.
    """

    fast: Callable[[], Array]
    decay: Callable[..., Array]
    write: Callable[..., Array]
    read: Callable[..., Array]
    tokens: tuple[Array, ...] = ()


def recurrence(module: nn.Module, form: Recurrence, backend: str = "auto") -> Array:
    """Outputs of a recurrence through the sites write, state and, if the mixer has it, decay.

    Args:
        module: Mixer that owns the sites.
        form: What is computed.
        backend: Backend of `ops.linear_recurrence`.
    """
    sites = [getattr(module, name) for name in STATE_SITES if name in module.SITES]
    if not any(site.in_use() for site in sites):
        return form.fast()
    if form.tokens and resolve_backend(backend) == "sequential" and _are_only_replaced(sites):
        return _token_by_token(module, form)
    decays, writes = form.decay(*form.tokens), module.write(form.write(*form.tokens))
    if "decay" in module.SITES:
        decays = module.decay(decays)
    entry = module.state.checked_entry(writes)
    states = linear_recurrence(decays, writes, backend=backend, entry=entry)
    states = module.state(states, rewritten=True)
    return form.read(states, *form.tokens) if any(s.replaced() for s in sites) else form.fast()


def _are_only_replaced(sites: Iterable[Site]) -> bool:
    """Whether no site is captured and none is shifted, so that all that acts replaces values."""
    return not any(
        site.is_captured() or any("shift" in step for step in steps(site.entry())) for site in sites
    )


def _token_by_token(module: nn.Module, form: Recurrence) -> Array:
    """Outputs of a loop that holds the state of one token."""
    shapes = {
        "decay": jax.eval_shape(form.decay, *form.tokens),
        "write": jax.eval_shape(form.write, *form.tokens),
    }
    shapes["state"] = shapes["write"]
    entries = {
        name: getattr(module, name).checked_entry(shape) if name in module.SITES else NO_ENTRY
        for name, shape in shapes.items()
    }

    write = shapes["write"]
    wide = wide_type(*shapes.values())

    def advance(state: Array, at_t: tuple[Array, ...]) -> tuple[Array, Array]:
        token, *parts = at_t
        own = tuple(part[:, None] for part in parts)
        decay = rewrite_at(form.decay(*own)[:, 0], entries["decay"], token).astype(wide)
        added = rewrite_at(form.write(*own)[:, 0], entries["write"], token).astype(wide)
        state = rewrite_at(decay * state + added, entries["state"], token).astype(wide)
        return state, form.read(state[:, None].astype(write.dtype), *own)[:, 0]

    start = jnp.zeros((write.shape[0], *write.shape[2:]), wide)
    return over_tokens(advance, start, tuple(form.tokens), (jnp.arange(write.shape[1]),))


def passed_decay(
    module: nn.Module, log_decay: Float[Array, "batch length heads decayed"]
) -> Float[Array, "batch length heads decayed"]:
    """Logarithms of the decays that have passed the site decay, if the mixer has it.

    A replaced decay of 0 or less counts as one of nearly 0, and has a slope all the same.
    """
    if "decay" in module.SITES and module.decay.in_use():
        decay = module.decay(exp_wide(log_decay)[..., None])[..., 0]
        if module.decay.replaced():
            raised = jnp.maximum(decay, LEAST_DECAY)
            return jnp.log(decay + jax.lax.stop_gradient(raised - decay))
    return log_decay


def read_states(
    states: Float[Array, "batch length heads key value"],
    q: Float[Array, "batch length heads key"],
    positions: Int[Array, "batch queries"] | None,
) -> Float[Array, "batch positions heads value"]:
    """What queries read of states at some positions, in the type of the queries.

    States may be wider. The sites behind have the type that they have without states.
    """
    return read(at_positions(states, positions), at_positions(q, positions)).astype(q.dtype)


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
    free = "decay" in module.SITES and module.decay.replaced()
    # A chunk's slopes with respect to logarithms of decays are differences of sums, and say nothing
    # of a decay near 0 once they are divided by it.
    by_channel = free and update.log_decay.shape[-1] > 1
    if by_channel or any(site.in_use() for site in sites):
        decay, write = update.decay(), module.write(update.write())
        entry = module.state.checked_entry(write)
        if update.x is None:
            states = linear_recurrence(decay, write, backend=backend, entry=entry)
        else:
            states = dplr_states(decay, module.erase(update.erase()), write, entry, backend)
        states = module.state(states, rewritten=True)
        if by_channel or any(site.replaced() for site in sites):
            return read_states(states, q, positions)
    least = -math.inf if free else getattr(module, "LEAST_LOG_DECAY", -math.inf)
    return dplr(q, update, backend, least, positions)
