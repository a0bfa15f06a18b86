"""What is checked before a training begins, and before anything is compiled or allocated for it."""

from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.models.own_mixers import check_own_mixers
from mecheval_jax.tasks.base import Task
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.footprint import check_memory


def check_training(
    model: ModelConfig, task: Task, training: TrainingConfig, documents: int
) -> None:
    """Check that there is memory for a training, and that mixers of one's own keep their promises.

    The arguments are those of `check_memory`.

    Raises:
        UserError: If not.
    """
    check_memory(model, task, training, documents)
    check_own_mixers(model)
