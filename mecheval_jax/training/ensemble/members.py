"""Many runs of one shape as one state: the members of a sweep, along a leading axis.

Members differ in `state.HYPERPARAMETERS` alone. One that is done, has reached its target or has
diverged stays as it is from then on, whatever the others do: its steps are a loop that ends, and
under `jax.vmap` a loop that has ended keeps its values.
"""

import typing

import flax.struct
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Bool, Int
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.data import training_batch
from mecheval_jax.training.optimizer import Hyperparameters
from mecheval_jax.training.state import TrainState, new_state
from mecheval_jax.training.step import (
    Metrics,
    is_finite,
    loss_and_accuracy,
    no_metrics,
    note,
    train_step,
)

NEVER = -1


@typing.no_type_check  # as a tree it also holds shapes and shardings
@flax.struct.dataclass
class Member:
    """One member, or with a leading axis all of a group.

    Attributes:
        state: its training.
        diverged_at: the step whose loss, or whose update, was not finite; `NEVER` so far.
        stopped_at: the step at which it reached the target accuracy; `NEVER` so far.
    """

    state: TrainState
    diverged_at: Int[Array, ""]
    stopped_at: Int[Array, ""]

    @property
    def training(self) -> Bool[Array, ""]:
        """Whether it still learns."""
        unfinished = self.state.step < self.state.hyperparameters.steps
        return unfinished & (self.diverged_at == NEVER) & (self.stopped_at == NEVER)


def new_member(model: ModelConfig, hyperparameters: Hyperparameters) -> Member:
    """A member before its first step. Traceable."""
    never = jnp.full((), NEVER, jnp.int32)
    return Member(new_state(model, hyperparameters), never, never)


def member_step(
    member: Member, batch: Batch, model: ModelConfig, task: Task, training: TrainingConfig
) -> tuple[Member, Metrics]:
    """One step; where it gives a loss or a state that is not finite, the member stays as it was."""
    state, metrics = train_step(member.state, batch, model, task, training, None)
    good = is_finite((metrics["loss"], state.params, state.moments))
    kept = jax.tree.map(
        lambda new, old: jnp.where(good, new, old),
        (state.step, state.params, state.moments),
        (member.state.step, member.state.params, member.state.moments),
    )
    step, params, moments = kept
    after = member.state.replace(step=step, params=params, moments=moments)
    diverged_at = jnp.where(good, member.diverged_at, member.state.step)
    return member.replace(state=after, diverged_at=diverged_at), metrics


def member_steps(
    member: Member,
    first: Int[Array, ""],
    stop: Int[Array, ""],
    model: ModelConfig,
    task: Task,
    training: TrainingConfig,
) -> tuple[Member, Metrics]:
    """The steps from `first` to before `stop`, as far as the member goes, of a traceable task.

    Metrics have a leading axis of ``steps_per_dispatch``; entry i is that of step first + i,
    NaN where no step was taken.
    """

    def body(carry):
        member, history = carry
        state = member.state
        batch = training_batch(
            task, state.key, state.step, training.batch_size, training.training_batches
        )
        after, metrics = member_step(member, batch, model, task, training)
        return after, note(history, state.step - first, metrics)

    def under_way(carry):
        member, _ = carry
        return member.training & (member.state.step < stop)

    return jax.lax.while_loop(under_way, body, (member, no_metrics(training)))


def evaluate_member(
    member: Member, batch: Batch, model: ModelConfig, task: Task, training: TrainingConfig
) -> tuple[Member, Metrics]:
    """Loss and accuracy on dev documents, and what follows from them for the member.

    It stops where it has reached the target, and has diverged where the loss is not finite.
    """
    loss, accuracy = loss_and_accuracy(model, member.state.params, task, batch)
    learning = member.training
    fine = jnp.isfinite(loss) | (member.diverged_at != NEVER)
    diverged_at = jnp.where(fine, member.diverged_at, member.state.step - 1)
    member = member.replace(diverged_at=diverged_at)
    if training.target_accuracy is not None:
        # Others may be looked at in between, where a shorter run ends.
        due = member.state.step % training.evaluate_every == 0
        reached = learning & due & (accuracy >= training.target_accuracy)
        stopped_at = jnp.where(reached, member.state.step, member.stopped_at)
        member = member.replace(stopped_at=stopped_at)
    return member, {"loss": loss, "accuracy": accuracy}
