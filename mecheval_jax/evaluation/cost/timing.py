"""Timing of calls, and the rates of the machine that put times into proportion."""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp


def repeated(
    function: Callable[[], object], repeats: int = 5, limit: float = float("inf")
) -> list[float]:
    """Times of calls until their results are ready, in seconds, in order.

    Args:
        function: Function that is called; a first call, which compiles, is not measured.
        repeats: Number of calls that are measured.
        limit: Seconds after which no further call is begun; at least one is measured.
    """
    jax.block_until_ready(function())
    times: list[float] = []
    while not times or (len(times) < repeats and sum(times) < limit):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return times


def seconds(function: Callable[[], object], repeats: int = 5) -> float:
    """Median time of a call until its result is ready, in seconds; see `repeated`."""
    return statistics.median(repeated(function, repeats))


def matrix_rate(size: int = 1024) -> float:
    """Rate of a float32 product of two square matrices on this machine, in FLOP/s."""
    a = jnp.ones((size, size))
    multiply = jax.jit(lambda a: a @ a)
    return 2 * size**3 / seconds(lambda: multiply(a), repeats=20)


def memory_bandwidth(size: int = 2**26) -> float:
    """Rate at which a float32 array larger than the caches is read and written, in bytes/s."""
    a = jnp.ones(size, jnp.float32)
    shift = jax.jit(lambda a: a + 1)
    return 2 * a.nbytes / seconds(lambda: shift(a), repeats=10)
