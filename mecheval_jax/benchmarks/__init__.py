"""Benchmarks of speed and memory on this machine, measured by ``launch/benchmark.py``."""

import contextlib
import os
import pathlib
from collections.abc import Sequence

import pandas as pd

from mecheval_jax.benchmarks import record
from mecheval_jax.benchmarks.against import AGAINST_TORCH, check_torch
from mecheval_jax.benchmarks.device import DEVICE_PARTS, check_accelerator
from mecheval_jax.benchmarks.evidence import circuits_with_ports, gradient_attribution
from mecheval_jax.benchmarks.grids import grids
from mecheval_jax.benchmarks.imports import imports
from mecheval_jax.benchmarks.measured import Benchmark
from mecheval_jax.benchmarks.models import costs_in_length, unused_sites
from mecheval_jax.benchmarks.ops import convolutions, recurrences
from mecheval_jax.benchmarks.probes import probes
from mecheval_jax.benchmarks.sampling import sampling
from mecheval_jax.benchmarks.sweeps import strategies, sweep_as_one_program
from mecheval_jax.benchmarks.training import steps_of_relatives, training_steps
from mecheval_jax.console import say
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.cost.measure import machine
from mecheval_jax.files import write_table
from mecheval_jax.reporting.terminal import benchmarks as shown
from mecheval_jax.store.folder import Folder

PARTS: dict[str, Benchmark] = {
    "step": training_steps,
    "relatives": steps_of_relatives,
    "grid": grids,
    "gradients": gradient_attribution,
    "circuits": circuits_with_ports,
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


SUITES: dict[str, dict[str, Benchmark]] = {
    "all": PARTS,
    "device": DEVICE_PARTS,
    "against_torch": AGAINST_TORCH,
}
"""What is measured: everything, what an accelerator is asked, or ourselves beside PyTorch."""

CHECKS = {"device": check_accelerator, "against_torch": check_torch}
"""What a suite needs."""


def measure(
    only: Sequence[str] | None = None,
    steps: int = 200,
    suite: str = "all",
    output: str | os.PathLike | None = None,
    compare: str | os.PathLike | None = None,
) -> None:
    """Run benchmarks and print their results.

    Args:
        only: Names of the benchmarks of the suite; all if None.
        steps: Number of steps in a measurement of the training step.
        suite: Name of the suite, a key of `SUITES`.
        output: Folder of the results; parts that it already holds are not measured again.
        compare: Folder of other results: the ratios of those in `output` to them are printed, and
            written into `output` as ``comparison.csv`` and a figure.

    Raises:
        UserError: If a name is unknown, torch or an accelerator is needed and missing, a folder
            holds no results, or other files, or another program measures into it.
    """
    # What is asked for, and what is there already, before anything is measured.
    if compare and not output:
        raise UserError("--compare needs --output, the folder whose results are compared")
    parts = choose_suite(suite)
    chosen = [choose("benchmark", name, parts) for name in (only or parts)]
    labels = {name if suite == "all" else f"{suite}: {name}": name for name in chosen}
    before = record.read(pathlib.Path(compare))[0] if compare else None
    folder = Folder(output) if output else None
    if folder:
        folder.check_own("benchmarks", (record.TABLE,))
    with folder.lock("benchmarks") if folder else contextlib.nullcontext():
        # The machine's rate takes seconds to measure.
        here = machine()
        kept = record.Record(folder.path, here) if folder else None
        if kept and before is not None:
            kept.check_comparable(before, labels)
        print(f"{here['device']} ({here['platform']}), jax {here['jax']}")
        print(f"product of float32 matrices: {here['matrix_gflops']:.0f} GFLOP/s")
        for label, name in labels.items():
            _measure_part(label, parts[name], [steps] if name == "step" else [], kept)
        if folder and before is not None:
            _compare(folder.path, before, str(compare))


def _measure_part(
    label: str, benchmark: Benchmark, arguments: Sequence[int], kept: record.Record | None
) -> None:
    """Measure and show a part, and keep it at once; one that was kept before is passed over."""
    if kept and kept.has(label):
        say(f"{label} is in {kept.folder} already")
        return
    say(f"measuring {label}")
    found = record.table(label, benchmark(*arguments))
    shown.show_part(found)
    if kept:
        kept.add(found)


def choose_suite(name: str) -> dict[str, Benchmark]:
    """The benchmarks of a suite.

    Raises:
        UserError: If it is unknown, or needs what is not there.
    """
    parts = SUITES[choose("suite", name, SUITES)]
    CHECKS.get(name, lambda: None)()
    return parts


def _compare(folder: pathlib.Path, before: pd.DataFrame, earlier: str) -> None:
    """Print, write and draw the ratios of the results in a folder to those `before` of another.

    Raises:
        UserError: If no quantity is in both.
    """
    from mecheval_jax.reporting.figures import benchmark_figures, saving

    after = record.read(folder)[0]
    table = record.compare(after, before)
    if table.empty:
        raise UserError(
            f"{folder} and {earlier} have no quantity in common: the first has "
            f"{record.quantities(after)}; the second {record.quantities(before)}"
        )
    shown.show_comparison(table)
    write_table(folder / "comparison.csv", table)
    saving.save(benchmark_figures.ratios(table), folder, "comparison")
