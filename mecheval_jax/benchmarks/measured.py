"""Measured quantities of a benchmark, each with the values of several measurements."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from mecheval_jax.evaluation.cost.timing import repeated

PERCENT, TIMES, PLAIN = "%", "x", ""
"""Units of shares, of ratios, and of plain numbers."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """A measured quantity.

    Attributes:
        what: Description of the measured program; a row of the printed table.
        quantity: Name of the quantity; a column of the printed table.
        values: Values, one for each measurement.
        unit: Unit of the values: a symbol of the SI, or one of the constants above.
    """

    what: str
    quantity: str
    values: tuple[float, ...]
    unit: str = "s"

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)

    def row(self, part: str) -> dict[str, Any]:
        """A row of ``benchmarks.csv``."""
        return {
            "part": part,
            "what": self.what,
            "quantity": self.quantity,
            "unit": self.unit,
            "median": self.median,
            "low": min(self.values),
            "high": max(self.values),
            "values": len(self.values),
        }


Benchmark = Callable[..., Iterator[Measured]]
"""A benchmark; `training.training_steps` alone takes an argument, the number of its steps."""


def times(
    what: str, quantity: str, call: Callable[[], object], repeats: int = 5, per: float = 1
) -> Measured:
    """Times of a call, in seconds, divided by the number of units of work in it."""
    return Measured(what, quantity, tuple(t / per for t in repeated(call, repeats)))


def in_turn(
    runs: Mapping[str, Callable[[], object]], rounds: int, per: int = 1
) -> dict[str, tuple[float, ...]]:
    """Times of every run in every round, after a first round that does not count.

    Args:
        runs: Functions that take turns, by name.
        rounds: Number of rounds.
        per: Number of units of work in a run; times are per unit.
    """
    return in_rounds(
        {name: functools.partial(_timed, run) for name, run in runs.items()}, rounds, per
    )


def measured_in_turn(
    what: str, runs: Mapping[str, Callable[[], object]], rounds: int, per: int = 1
) -> dict[str, Measured]:
    """The times of runs of one program in its different forms, which are the quantities' names.

    Args:
        what: Description of the program.
        runs: Functions that take turns, by the names of the forms.
        rounds: Number of rounds.
        per: Number of units of work in a run; times are per unit.
    """
    spent = in_turn(runs, rounds, per)
    return {name: Measured(what, name, values) for name, values in spent.items()}


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def in_rounds(
    turns: Mapping[str, Callable[[], float]], rounds: int, per: int = 1
) -> dict[str, tuple[float, ...]]:
    """The times that turns give in every round; the other arguments are those of `in_turn`."""
    spent: dict[str, list[float]] = {name: [] for name in turns}
    for i in range(rounds + 1):
        for name, turn in turns.items():
            seconds = turn()
            if i:
                spent[name].append(seconds / per)
    return {name: tuple(values) for name, values in spent.items()}


def temporary_bytes(program: Any) -> int:
    """Bytes that a compiled program needs in addition to its arguments and results."""
    return program.memory_analysis().temp_size_in_bytes


def ratio(over: Measured, under: Measured, quantity: str = "ratio") -> Measured:
    """The ratio of two quantities, whose values were measured in pairs."""
    pairs = zip(over.values, under.values, strict=True)
    return Measured(under.what, quantity, tuple(a / b for a, b in pairs), TIMES)


def one(what: str, quantity: str, value: float, unit: str) -> Measured:
    """A quantity that was measured once."""
    return Measured(what, quantity, (value,), unit)
