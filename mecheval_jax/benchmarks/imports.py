"""Benchmark of the import of the package."""

import subprocess
import sys
from collections.abc import Iterator

from mecheval_jax.benchmarks.measured import Measured


def imports() -> Iterator[Measured]:
    """Import time of the package beyond that of jax and flax, in new processes."""
    base = _seconds("import jax, flax.linen")
    whole = _seconds("import jax, flax.linen; import mecheval_jax.runs")
    yield Measured("jax and flax", "time", base)
    # Every process takes at least the shortest of the times for jax.
    yield Measured("mecheval_jax.runs beyond them", "time", tuple(t - min(base) for t in whole))


def _seconds(statement: str) -> tuple[float, ...]:
    """Times of a statement in three new processes, in seconds."""
    code = f"import time; s = time.perf_counter(); {statement}; print(time.perf_counter() - s)"
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3)]
    return tuple(float(run.stdout) for run in runs)
