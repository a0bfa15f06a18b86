"""What becomes of training whose numbers are no longer finite."""

import enum

from mecheval_jax.errors import UserError


class Policy(enum.Enum):
    """What happens where training diverges.

    ``RAISE``
        it ends with `Diverged`: a run on its own.
    ``FREEZE``
        the member stays as it was before that step, and the others go on: a sweep. The step itself
        has to see to it, and looks at every number that it writes.
    """

    RAISE = "raise"
    FREEZE = "freeze"


class Diverged(UserError):
    """The loss, or the state that training would go on from, is no longer finite.

    Attributes:
        step: Index of the step that gave it.
    """

    def __init__(self, step: int, what: str, learning_rate: float, last_good: int | None):
        kept = f"the checkpoint of step {last_good} is kept" if last_good else "no checkpoint yet"
        super().__init__(
            f"training diverged: {what} at step {step} with learning rate "
            f"{learning_rate:g} ({kept}): take a lower learning rate"
        )
        self.step = step
