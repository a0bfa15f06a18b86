"""What a benchmark finds: quantities of named things, each measured several times."""

import dataclasses
import statistics
from collections.abc import Callable, Iterator
from typing import Any

from mecheval_jax.evaluation.cost.timing import repeated

PERCENT, TIMES, PLAIN = "%", "x", ""
"""Units of shares, of ratios, and of numbers without one."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """A quantity of something.

    Attributes:
        what: What was measured; a row of the printed table.
        quantity: Its quantity; a column of the printed table.
        values: What was found, once for each time that it was measured.
        unit: Unit of the values, a symbol of the SI, or one of those above.
    """

    what: str
    quantity: str
    values: tuple[float, ...]
    unit: str = "s"

    @property
    def median(self) -> float:
        """The middle of the values."""
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


Part = Callable[..., Iterator[Measured]]
"""A benchmark; `training.training_steps` alone takes an argument, the number of its steps."""


def times(
    what: str, quantity: str, call: Callable[[], object], repeats: int = 5, per: float = 1
) -> Measured:
    """Times of a call, in seconds, divided by the number of things that it does."""
    return Measured(what, quantity, tuple(t / per for t in repeated(call, repeats)))


def ratio(over: Measured, under: Measured, quantity: str = "ratio") -> Measured:
    """The ratio of two quantities, whose values were found in pairs."""
    pairs = zip(over.values, under.values, strict=True)
    return Measured(under.what, quantity, tuple(a / b for a, b in pairs), TIMES)


def one(what: str, quantity: str, value: float, unit: str) -> Measured:
    """A quantity that was found once."""
    return Measured(what, quantity, (value,), unit)
