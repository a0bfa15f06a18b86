"""The training step, and many of them as one program."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from mecheval_jax.array_types import Array, Float
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, narrow
from mecheval_jax.partitioning.mesh import documents_sharding
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.data import training_batch
from mecheval_jax.training.losses import query_scores, weighted_mean
from mecheval_jax.training.optimizer import schedule, update
from mecheval_jax.training.state import TrainState

Metrics = dict[str, Float[Array, "..."]]


def read(task: Task, batch: Batch) -> Array:
    """The tokens that a causal model needs to answer every query."""
    return batch.tokens[:, : task.read_length]


def answer(model: ModelConfig, params, task: Task, batch: Batch):
    """`query_scores` of a model's answers: losses in nats and correctness, of every query."""
    logits = LanguageModel(model).apply(
        {"params": narrow(params, model)},
        read(task, batch),
        batch.query_positions,
        skip_unread=True,
    )
    return query_scores(logits, batch)


def loss_and_accuracy(model: ModelConfig, params, task: Task, batch: Batch):
    """Mean negative log-likelihood in nats, and accuracy, at the queries."""
    losses, correct = answer(model, params, task, batch)
    return weighted_mean(losses, batch.weights), weighted_mean(correct, batch.weights)


def train_step(
    state: TrainState, model: ModelConfig, task: Task, training: TrainingConfig, mesh: Mesh
) -> tuple[TrainState, Metrics]:
    """One step of AdamW on the documents of its number."""
    batch = training_batch(
        task, state.key, state.step, training.batch_size, training.training_batches
    )
    batch = jax.lax.with_sharding_constraint(batch, documents_sharding(mesh))
    (loss, accuracy), gradients = jax.value_and_grad(
        lambda params: loss_and_accuracy(model, params, task, batch), has_aux=True
    )(state.params)
    factor = schedule(
        state.step, state.hyperparameters.steps, training.warmup_fraction, training.decay
    )
    params, moments = update(gradients, state.moments, state.params, state.hyperparameters, factor)
    metrics = {"loss": loss, "accuracy": accuracy}
    return state.replace(step=state.step + 1, params=params, moments=moments), metrics


def compile_steps(
    state: TrainState, model: ModelConfig, task: Task, training: TrainingConfig, mesh: Mesh
) -> Callable[[TrainState, int], tuple[TrainState, Metrics]]:
    """A program that takes a number of steps; the state's buffers are donated to it.

    The number is an argument and not a shape: one program serves every stretch between
    two evaluations, and how a run is cut into stretches cannot change its numbers. It may
    be 1 to ``steps_per_dispatch``; metrics come back with that leading axis, only the
    first entries filled.
    """

    def steps(state, count):
        _, shapes = jax.eval_shape(lambda s: train_step(s, model, task, training, mesh), state)
        empty = jax.tree.map(
            lambda leaf: jnp.full((training.steps_per_dispatch, *leaf.shape), jnp.nan), shapes
        )

        def body(i, carry):
            state, history = carry
            state, metrics = train_step(state, model, task, training, mesh)
            return state, jax.tree.map(lambda h, m: h.at[i].set(m), history, metrics)

        return jax.lax.fori_loop(0, count, body, (state, empty))

    where = jax.tree.map(lambda leaf: leaf.sharding, state)
    return jax.jit(steps, donate_argnums=0, out_shardings=(where, None))
