"""How things are timed: the median of a few calls, the first left out."""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp


def seconds(function: Callable[[], object], repeats: int = 5) -> float:
    """Median time of a call whose result is waited for; the first call is not counted."""
    jax.block_until_ready(function())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def matrix_rate(size: int = 1024) -> float:
    """float32 FLOP/s of a square product on this machine."""
    a = jnp.ones((size, size))
    multiply = jax.jit(lambda a: a @ a)
    return 2 * size**3 / seconds(lambda: multiply(a), repeats=20)
