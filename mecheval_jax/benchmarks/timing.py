"""Timing of calls: the median of several, after a first that is not counted."""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp


def seconds(function: Callable[[], object], repeats: int = 5) -> float:
    """Median time of a call until its result is ready, in seconds.

    Args:
        function: Function that is called, once before the measurement to compile it.
        repeats: Number of calls that are measured.
    """
    jax.block_until_ready(function())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def matrix_rate(size: int = 1024) -> float:
    """Rate of a float32 product of square matrices on this machine, in FLOP/s."""
    a = jnp.ones((size, size))
    multiply = jax.jit(lambda a: a @ a)
    return 2 * size**3 / seconds(lambda: multiply(a), repeats=20)
