"""Benchmarks of speed and memory on this machine; see ``launch/benchmark.py``."""

from collections.abc import Callable, Sequence

import jax

from mecheval_jax.benchmarks.against import AGAINST_TORCH, check_torch
from mecheval_jax.benchmarks.evidence import gradient_attribution
from mecheval_jax.benchmarks.grids import grids
from mecheval_jax.benchmarks.imports import imports
from mecheval_jax.benchmarks.models import costs_in_length, unused_sites
from mecheval_jax.benchmarks.ops import convolutions, recurrences
from mecheval_jax.benchmarks.probes import probes
from mecheval_jax.benchmarks.sampling import sampling
from mecheval_jax.benchmarks.sweeps import strategies, sweep_as_one_program
from mecheval_jax.benchmarks.training import training_steps
from mecheval_jax.console import say
from mecheval_jax.errors import choose
from mecheval_jax.evaluation.cost.timing import matrix_rate

PARTS: dict[str, Callable[..., None]] = {
    "step": training_steps,
    "grid": grids,
    "gradients": gradient_attribution,
    "probes": probes,
    "length": costs_in_length,
    "convolution": convolutions,
    "recurrence": recurrences,
    "sites": unused_sites,
    "sampling": sampling,
    "sweep": sweep_as_one_program,
    "strategies": strategies,
    "imports": imports,
}


def measure(only: Sequence[str] | None, steps: int, against: str = "none") -> None:
    """Run benchmarks and print their results.

    Args:
        only: Names of the benchmarks, keys of `PARTS`; all if None.
        steps: Number of training steps that ``step`` measures.
        against: ``torch`` for the benchmarks of `AGAINST_TORCH` in their place.

    Raises:
        UserError: If a name is unknown, or torch is not there.
    """
    if against == "torch":
        check_torch()
    parts = AGAINST_TORCH if against == "torch" else PARTS
    chosen = [choose("benchmark", name, parts) for name in (only or parts)]
    device = jax.devices()[0]
    print(f"{jax.device_count()} x {device.device_kind}, jax {jax.__version__}")
    print(f"float32 1024^3 matrix product: {matrix_rate() / 1e9:.0f} GFLOP/s")
    for name in chosen:
        say(f"measuring {name}")
        parts[name](*([steps] if name == "step" else []))
