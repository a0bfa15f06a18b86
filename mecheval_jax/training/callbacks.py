"""Callbacks: how the training loop reports metrics, progress and messages."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from mecheval_jax.array_types import Bool, Int

STRETCHES = 3
"""Number of stretches of steps by which a rate is told."""


@dataclasses.dataclass(frozen=True)
class Standing:
    """Progress of an ensemble at a stop of the training loop.

    Attributes:
        step: Number of steps of the member that has taken the most.
        diverged_at: Step at which each member diverged; `NEVER` if it did not.
        stopped_at: Step at which each member reached the target; `NEVER` if it did not.
        learns: Whether each member has steps left to take.
        taken: Number of steps that all members together took since the previous stop.
        seconds: Seconds since the previous stop.
    """

    step: int
    diverged_at: Int[np.ndarray, " members"]
    stopped_at: Int[np.ndarray, " members"]
    learns: Bool[np.ndarray, " members"]
    taken: int
    seconds: float


class Pace:
    """Steps of all members a second, of the last stretches of training the middle one.

    A stretch alone may tell wrong: some wait for a program to be compiled, and where the host is
    late to see one end, the next seems to take no time.
    """

    def __init__(self) -> None:
        self._rates: list[float] = []

    def take(self, standing: Standing) -> float:
        """The rate with the progress since the previous stop, in steps a second; 0 if unknown."""
        if standing.taken:  # a stretch without any steps says nothing
            rate = standing.taken / max(standing.seconds, 1e-9)
            self._rates = [*self._rates, rate][-STRETCHES:]
        return middle_rate(self._rates)


def middle_rate(rates: Sequence[float]) -> float:
    """Of the last `STRETCHES` of some rates the middle one; 0 if there is none."""
    return statistics.median_low(rates[-STRETCHES:]) if rates else 0.0


@runtime_checkable
class Callbacks(Protocol):
    """Receiver of the events of training, in order, which writes and shows them.

    Single runs have `reporting.terminal.progress.RunCallbacks`, groups of a sweep their own.
    """

    def record(self, values: Mapping[str, float | int | str]) -> None:
        """Take a row of metrics of one ``member``; it also has ``step`` and ``split``."""

    def advance(self, standing: Standing) -> None:
        """Take the progress of the ensemble: at the start, and after every stretch of steps."""

    def say(self, message: str) -> None:
        """Show a message to the user."""
