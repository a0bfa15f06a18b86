"""What a run writes down and shows while it trains."""

import time
from collections.abc import Mapping

from mecheval_jax.console import say
from mecheval_jax.reporting.terminal.progress import Progress
from mecheval_jax.store.metrics import Writer
from mecheval_jax.training.callbacks import Standing
from mecheval_jax.training.state import NEVER


class RunCallbacks:
    """Callbacks of a run: its metrics are written, and its progress is shown.

    Args:
        writer: Writer of the metrics.
        progress: Progress of training.
        target: Accuracy at which training ends; None for all steps.
        step: Steps taken before.
    """

    def __init__(self, writer: Writer, progress: Progress, target: float | None, step: int):
        self._writer, self._progress, self._target = writer, progress, target
        self._step, self._clock = step, time.monotonic()
        self._note = ""

    def record(self, values: Mapping[str, float | int | str]) -> None:
        """Write a row of metrics; that of a stretch of steps has the time of one of them."""
        row = {name: value for name, value in values.items() if name != "member"}
        if row["split"] == "train":
            now, step = time.monotonic(), int(row["step"])
            row["seconds_per_step"] = (now - self._clock) / (step - self._step)
            self._step, self._clock = step, now
            self._note = f"loss {row['loss']:.3f}"
        else:
            self._note += f", dev accuracy {row['accuracy']:.1%}"
        self._writer.write(row)

    def advance(self, standing: Standing) -> None:
        """Show how far training is."""
        if standing.taken:
            self._progress.advance(standing.step, self._note)
        (at,) = standing.stopped_at
        if at != NEVER:
            self.say(f"the target of {self._target:.1%} on dev documents is reached at step {at}")

    def say(self, message: str) -> None:
        """Print a message."""
        say(message)
