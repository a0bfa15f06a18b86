"""What the training loop tells the outside: records to keep, progress to show."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from mecheval_jax.array_types import Bool, Int


@dataclasses.dataclass(frozen=True)
class Standing:
    """How an ensemble is doing at a stop.

    Attributes:
        step: Step of those members that are furthest.
        steps: Steps that each member has taken.
        diverged_at: Step at which each diverged, `NEVER` where it did not.
        stopped_at: Step at which each reached the target, `NEVER` where it did not.
        learns: Whether each has steps left to take.
        taken: Steps of all members since the stop before.
        seconds: Time since then.
    """

    step: int
    steps: Int[np.ndarray, " members"]
    diverged_at: Int[np.ndarray, " members"]
    stopped_at: Int[np.ndarray, " members"]
    learns: Bool[np.ndarray, " members"]
    taken: int
    seconds: float


@runtime_checkable
class Callbacks(Protocol):
    """Receives what happens, in order, and writes and shows it: `RunCallbacks`, and a group's."""

    def record(self, values: Mapping[str, float | int | str]) -> None:
        """A row of metrics of one ``member``; it has ``step`` and ``split``, too."""

    def advance(self, standing: Standing) -> None:
        """How the ensemble is doing: at the start, and after every stretch of steps."""

    def say(self, message: str) -> None:
        """Something the user should read."""
