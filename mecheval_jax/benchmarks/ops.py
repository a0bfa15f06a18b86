"""Benchmarks of the backends of convolutions and recurrences."""

import jax
import jax.numpy as jnp

from mecheval_jax.evaluation.cost.timing import seconds
from mecheval_jax.ops.linear_recurrence import linear_recurrence
from mecheval_jax.ops.long_convolution import long_convolution
from mecheval_jax.ops.selective_scan import selective_scan


def convolutions() -> None:
    """Print times of FFT and Toeplitz product, value and gradient, batch 32, width 64."""
    print(f"\n{'long convolution':20}{'Toeplitz, ms':>14}{'FFT, ms':>10}{'FFT / Toeplitz':>16}")
    for length in (32, 64, 128, 256, 512, 1024):
        x, taps = jnp.ones((32, length, 64)), jnp.ones((length, 64)) / length
        spent = {}
        for backend in ("toeplitz", "fft"):
            gradient = jax.jit(
                jax.grad(
                    lambda x, taps, b=backend: (long_convolution(x, taps, b) ** 2).sum(),
                    argnums=(0, 1),
                )
            )
            spent[backend] = seconds(lambda g=gradient, x=x, taps=taps: g(x, taps), repeats=10)
        toeplitz, fft = spent["toeplitz"] * 1e3, spent["fft"] * 1e3
        print(f"{f'length {length}':20}{toeplitz:14.2f}{fft:10.2f}{fft / toeplitz:16.2f}")


def recurrences() -> None:
    """Print times of the backends of recurrences, value and gradient, batch 4."""
    backends = ("sequential", "associative", "chunked")
    print(f"\n{'recurrence, ms':34}" + "".join(f"{backend:>14}" for backend in backends))
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
            row = f"{f'{name}, length {length}':34}"
            for backend in backends:
                program = jax.jit(
                    jax.value_and_grad(
                        lambda *a, op=op, b=backend: (op(*a, backend=b) ** 2).sum(),
                        argnums=range(len(arguments)),
                    )
                )
                row += f"{seconds(lambda p=program, a=arguments: p(*a)) * 1e3:14.2f}"
            print(row)
