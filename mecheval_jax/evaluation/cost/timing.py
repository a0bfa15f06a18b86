"""Timing of calls, and the rates of the machine that put times into proportion."""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array


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
    """Rate of products of square matrices on this machine, in FLOP/s.

    The matrices are of float32 and multiplied at jax's default precision, as a training step does
    it: on cards of NVIDIA that is TF32. An accelerator multiplies matrices of four times the size,
    many in a program, since one product is over before the next can be asked for.

    Args:
        size: Number of rows, on a CPU.
    """
    products = 1
    if jax.default_backend() != "cpu":
        size, products = 4 * size, 64

    def multiply(a: Array) -> Array:
        result = a
        for _ in range(products):
            result = result @ a
        return result

    program, a = jax.jit(multiply), jnp.full((size, size), 1 / size)  # whose powers are itself
    return 2 * products * size**3 / seconds(lambda: program(a), repeats=20)


def memory_bandwidth(size: int = 2**26) -> float:
    """Rate at which a float32 array larger than the caches is read and written, in bytes/s."""
    a = jnp.ones(size, jnp.float32)
    shift = jax.jit(lambda a: a + 1)
    return 2 * a.nbytes / seconds(lambda: shift(a), repeats=10)
