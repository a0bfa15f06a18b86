"""The linear recurrence h[t] = decay[t] h[t-1] + write[t], elementwise.

Backends: ``sequential`` (``lax.scan``) and ``associative`` (a parallel scan, Blelloch
1990, with the operator (a, b) . (a', b') = (a a', a' b + b')). ``auto`` takes the
sequential one on a CPU, where it compiles several times faster and runs faster, and
the associative one on accelerators, where depth and not work is the limit.
"""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float

BACKENDS = ("auto", "sequential", "associative")


def resolve_backend(backend: str) -> str:
    """The backend that ``auto`` stands for on this platform.

    Raises:
        ValueError: an unknown backend.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    if backend == "auto":
        return "sequential" if jax.default_backend() == "cpu" else "associative"
    return backend


def linear_recurrence(
    decay: Float[Array, "batch length *state"],
    write: Float[Array, "batch length *state"],
    initial: Float[Array, "batch *state"] | None = None,
    backend: str = "auto",
) -> Float[Array, "batch length *state"]:
    """All states h[0..length-1]; the state before the first token is `initial` or 0."""
    if initial is not None:
        write = write.at[:, 0].add(decay[:, 0] * initial)
    if resolve_backend(backend) == "associative":

        def combine(earlier, later):
            return earlier[0] * later[0], later[0] * earlier[1] + later[1]

        return jax.lax.associative_scan(combine, (decay, write), axis=1)[1]

    def advance(state, at_t):
        state = at_t[0] * state + at_t[1]
        return state, state

    by_time = (jnp.moveaxis(decay, 1, 0), jnp.moveaxis(write, 1, 0))
    states = jax.lax.scan(advance, jnp.zeros_like(write[:, 0]), by_time)[1]
    return jnp.moveaxis(states, 0, 1)
