"""The training loop: from a state to the last step, resumable at any moment."""

import time

import jax
import numpy as np
from jax.sharding import Mesh

from mecheval_jax.errors import UserError
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.partitioning.mesh import (
    check_batch,
    document_shards,
    documents_sharding,
    replicated,
)
from mecheval_jax.partitioning.multihost import place
from mecheval_jax.partitioning.padding import resized
from mecheval_jax.tasks.base import Task
from mecheval_jax.training.callbacks import Hooks
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.data import evaluation_batch
from mecheval_jax.training.intervals import is_evaluation, next_stop
from mecheval_jax.training.preemption import Preempted, Preemption
from mecheval_jax.training.state import (
    TrainState,
    abstract_state,
    create_state,
    restored_state,
    saved_part,
)
from mecheval_jax.training.step import compile_steps, is_finite, loss_and_accuracy


class Diverged(UserError):
    """The loss, or the state that training would go on from, is no longer finite.

    Attributes:
        step: index of the step that gave it.
    """

    def __init__(self, step: int, what: str, learning_rate: float, last_good: int | None):
        kept = f"the checkpoint of step {last_good} is kept" if last_good else "no checkpoint yet"
        super().__init__(
            f"training diverged: {what} at step {step} with learning rate "
            f"{learning_rate:g} ({kept}): take a lower learning rate"
        )
        self.step = step


_is_finite = jax.jit(is_finite)


def restore_or_create(
    model: ModelConfig,
    training: TrainingConfig,
    mesh: Mesh,
    checkpoints: Checkpoints,
    hooks: Hooks,
) -> TrainState:
    """The state of the newest checkpoint that can be read, or a new one."""
    any_before = bool(checkpoints.steps())
    abstract = abstract_state(model, training, mesh)
    saved = checkpoints.restore(saved_part(abstract), hooks)
    if saved is not None:
        hooks.say(f"resuming at step {int(saved['step'])}")
        state = restored_state(saved, training, abstract)
        return resized(state, abstract_state(model, training, mesh, padded=True))
    if any_before:
        hooks.say("no checkpoint can be read: starting anew")
    return create_state(model, training, mesh)


class _Dispatched:
    """A stretch of steps under way on the device; its metrics are fetched later."""

    def __init__(self, first: int, count: int, metrics, development):
        self.first, self.count = first, count
        self.metrics, self.development = metrics, development

    def fetch(self) -> tuple[np.ndarray, np.ndarray]:
        loss, accuracy = jax.device_get((self.metrics["loss"], self.metrics["accuracy"]))
        return loss[: self.count], accuracy[: self.count]


def fit(
    state: TrainState,
    model: ModelConfig,
    task: Task,
    training: TrainingConfig,
    mesh: Mesh,
    checkpoints: Checkpoints,
    hooks: Hooks,
    preemption: Preemption | None = None,
) -> TrainState:
    """Train to the last step, or to the evaluation at which the target accuracy is reached.

    The state that comes back has tables of the vocabulary alone.

    Metrics of a stretch are fetched after the next one is dispatched, so that the device
    does not wait for the host.

    Args:
        state: where to begin.
        model: which is trained.
        task: where the documents come from.
        training: the regime.
        mesh: the devices, of all processes.
        checkpoints: where states are saved.
        hooks: who is told of metrics and progress.
        preemption: asked at every stop whether to save and end there; never if None.

    Raises:
        Diverged: the loss is not finite; what was written up to there stands.
        Preempted: `preemption` asked for it; the state is saved.
        UserError: a batch that does not divide over the devices.
    """
    check_batch(training.batch_size, mesh, training.gradient_accumulation)
    kept = abstract_state(model, training, mesh)  # without spare rows of tables
    documents = training.evaluation_documents
    # Spread over the devices where that comes out even, whole on each where not.
    even = documents % document_shards(mesh) == 0
    spread = documents_sharding(mesh) if even else replicated(mesh)
    development = evaluation_batch(task, training.data_seed, documents, "dev")
    development = place(development, spread)
    with jax.set_mesh(mesh):
        evaluate = jax.jit(
            lambda params, batch: loss_and_accuracy(model, params, task, batch),
            out_shardings=replicated(mesh),
        )
        run = compile_steps(state, model, task, training, mesh)

        pending: _Dispatched | None = None
        step = int(state.step)
        clock = time.monotonic()

        def diverged(step: int, what: str) -> Diverged:
            last_good = max(checkpoints.steps(), default=None)
            return Diverged(step, what, training.learning_rate, last_good)

        def settle(dispatched: _Dispatched | None) -> None:
            nonlocal clock
            if dispatched is None:
                return
            loss, accuracy = dispatched.fetch()
            end = dispatched.first + dispatched.count
            bad = np.flatnonzero(~np.isfinite(loss))
            if len(bad):
                raise diverged(dispatched.first + int(bad[0]), f"the loss is {loss[bad[0]]}")
            now = time.monotonic()
            seconds, clock = (now - clock) / dispatched.count, now
            row = {"loss": float(loss.mean()), "accuracy": float(accuracy.mean())}
            hooks.record({"step": end, "split": "train", **row, "seconds_per_step": seconds})
            note = f"loss {row['loss']:.3f}"
            if dispatched.development is not None:
                dev_loss, dev_accuracy = map(float, jax.device_get(dispatched.development))
                if not np.isfinite(dev_loss):
                    raise diverged(end - 1, f"the loss on dev documents is {dev_loss}")
                hooks.record(
                    {"step": end, "split": "dev", "loss": dev_loss, "accuracy": dev_accuracy}
                )
                note += f", dev accuracy {dev_accuracy:.1%}"
            hooks.advance(end, note)

        def reached(at: int, scores) -> bool:
            """Whether training is over at an evaluation, by its accuracy (on the device)."""
            target = training.target_accuracy
            if target is None or scores is None:
                return False
            met = bool(scores[1] >= np.float32(target))
            if met:
                hooks.say(f"the target of {target:.1%} on dev documents is reached at step {at}")
            return met

        # A run that was broken off after its last checkpoint may be over already.
        resumed = step > 0 and training.target_accuracy and is_evaluation(step, training)
        over = reached(step, evaluate(state.params, development) if resumed else None)
        while step < training.steps and not over:
            stop = next_stop(step, training)
            state, metrics = run(state, stop - step)
            scores = None
            if is_evaluation(stop, training):
                scores = evaluate(state.params, development)
            settle(pending)
            pending = _Dispatched(step, stop - step, metrics, scores)
            step = stop
            over = reached(step, scores) or step == training.steps
            preempted = preemption is not None and preemption.requested() and not over
            if step % training.checkpoint_every == 0 or over or preempted:
                settle(pending)
                pending = None
                # No state that diverged is ever saved. The loss of a step tells only of the
                # parameters before it.
                if not _is_finite((state.params, state.moments)):
                    raise diverged(step - 1, "the parameters are not finite after the update")
                checkpoints.save(step, saved_part(resized(state, kept)))
            if preempted:
                raise Preempted(step)
    return resized(state, kept)
