"""When a choice has to be done, and what of its time is left."""

import dataclasses
import time


@dataclasses.dataclass(frozen=True)
class Deadline:
    """When a choice has to be done.

    Attributes:
        began: When it began, of `time.monotonic`.
        budget: Seconds that it has; None for no end.
    """

    began: float
    budget: float | None

    @property
    def left(self) -> float | None:
        """Seconds that are left; None for no end."""
        return None if self.budget is None else self.budget - (time.monotonic() - self.began)

    def until(self, share: float = 1.0) -> float | None:
        """When a share of the budget is spent; None for never."""
        return None if self.budget is None else self.began + share * self.budget

    @property
    def is_over(self) -> bool:
        """Whether all of it is spent."""
        return self.left is not None and self.left <= 0
