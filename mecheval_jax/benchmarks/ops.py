"""Benchmarks of the backends of convolutions and recurrences."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from mecheval_jax.benchmarks.measured import Measured, measured_in_turn, ratio
from mecheval_jax.ops.linear_recurrence import linear_recurrence
from mecheval_jax.ops.long_convolution import long_convolution
from mecheval_jax.ops.selective_scan import selective_scan


def convolutions() -> Iterator[Measured]:
    """Times of FFT and Toeplitz product, value and gradient, batch 32, width 64."""
    for length in (32, 64, 128, 256, 512, 1024):
        x, taps = jnp.ones((32, length, 64)), jnp.ones((length, 64)) / length
        calls = {}
        for backend in ("toeplitz", "fft"):
            gradient = jax.jit(
                jax.grad(
                    lambda x, taps, b=backend: (long_convolution(x, taps, b) ** 2).sum(),
                    argnums=(0, 1),
                )
            )
            calls[backend] = functools.partial(gradient, x, taps)
        found = measured_in_turn(f"length {length:,}", calls, rounds=10)
        yield from found.values()
        yield ratio(found["fft"], found["toeplitz"], "fft / toeplitz")


def recurrences() -> Iterator[Measured]:
    """Times of the backends of recurrences, value and gradient, batch 4."""
    backends = ("sequential", "associative", "chunked")
    for length in (37, 256, 1024, 4096):
        channels, directions = jnp.ones((4, length, 64)), jnp.ones((4, length, 16))
        writes = jnp.ones((4, length, 64, 16))
        cases = {
            "decay per entry": (linear_recurrence, (writes / 2, writes)),
            "decay per channel": (linear_recurrence, (channels[..., None] / 2, writes)),
            "selective scan": (
                selective_scan,
                (channels, channels, -jnp.ones((64, 16)), directions, directions),
            ),
        }
        for name, (op, arguments) in cases.items():
            calls = {}
            for backend in backends:
                program = jax.jit(
                    jax.value_and_grad(
                        lambda *a, op=op, b=backend: (op(*a, backend=b) ** 2).sum(),
                        argnums=range(len(arguments)),
                    )
                )
                calls[backend] = functools.partial(program, *arguments)
            yield from measured_in_turn(f"{name}, length {length:,}", calls, rounds=5).values()
