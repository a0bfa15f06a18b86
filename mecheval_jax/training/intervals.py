"""When a training loop looks up: functions of the step, for a resumed run to do the same."""

from mecheval_jax.training.config import TrainingConfig


def _intervals(training: TrainingConfig) -> tuple[int, ...]:
    return training.steps_per_dispatch, training.evaluate_every, training.checkpoint_every


def next_stop(step: int, training: TrainingConfig) -> int:
    """The step at which the host next looks in.

    The next multiple of each interval: a resumed run stops where an undisturbed one does.
    """
    return min(training.steps, *((step // every + 1) * every for every in _intervals(training)))


def is_stop(step: int, training: TrainingConfig) -> bool:
    """Whether the host looks in at a step."""
    return step == training.steps or any(step % every == 0 for every in _intervals(training))


def is_evaluation(step: int, training: TrainingConfig) -> bool:
    """Whether dev documents are answered at a step."""
    return step == training.steps or step % training.evaluate_every == 0
