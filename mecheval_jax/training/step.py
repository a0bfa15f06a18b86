"""The training step, and many of them as one program."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from mecheval_jax.array_types import Array, Bool, Float, Int, PyTree, Shaped
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.partitioning.mesh import documents_sharding, replicated
from mecheval_jax.partitioning.multihost import place
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.tasks.scoring import AnswerScores, score, weighted_mean
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.data import HostDocuments, training_batch
from mecheval_jax.training.optimizer import schedule, update
from mecheval_jax.training.state import TrainState

Metrics = dict[str, Float[Array, "..."]]


def read(task: Task, batch: Batch) -> Array:
    """The tokens that a causal model needs to answer every query."""
    return batch.tokens[:, : task.read_length]


def answer(
    model: ModelConfig, params: PyTree, task: Task, batch: Batch, remat: str = "none"
) -> AnswerScores:
    """Scores of a model's answers to every query."""
    rows = len(params["token_embedding"]["embedding"])
    logits = LanguageModel(model, rows, remat).apply(
        {"params": params},
        read(task, batch),
        batch.query_positions,
        skip_unread=True,
    )
    return score(logits, batch)


def loss_and_accuracy(model: ModelConfig, params, task: Task, batch: Batch):
    """Mean negative log-likelihood in nats, and accuracy, at the queries."""
    scores = answer(model, params, task, batch)
    return weighted_mean(scores.loss, batch.weights), weighted_mean(scores.correct, batch.weights)


def is_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether every number of a tree is finite. Traceable."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def gradients_and_metrics(
    model: ModelConfig, params, task: Task, batch: Batch, training: TrainingConfig
) -> tuple[PyTree, Metrics]:
    """Gradients of the mean loss over a batch, with that loss and the accuracy.

    Micro-batches are computed one after another. Each adds its share of the mean over all queries
    of the batch, so that documents with more queries weigh as much as in one pass.
    """
    total = batch.weights.sum()

    def share(params, batch):
        found = answer(model, params, task, batch, training.remat)
        scores = {"loss": found.loss, "accuracy": found.correct}
        shares = jax.tree.map(lambda score: (score * batch.weights).sum() / total, scores)
        return shares["loss"], shares

    gradient = jax.grad(share, has_aux=True)
    if training.gradient_accumulation == 1:
        return gradient(params, batch)

    def add(sums, batch):
        return jax.tree.map(jnp.add, sums, gradient(params, batch)), None

    batches = jax.tree.map(lambda leaf: _micro(leaf, training.gradient_accumulation), batch)
    first = jax.tree.map(lambda leaf: leaf[0], batches)
    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(gradient, params, first))
    return jax.lax.scan(add, zeros, batches)[0]


def _micro(rows: Shaped[Array, "batch ..."], count: int) -> Shaped[Array, "count micro ..."]:
    """Every `count`-th row: neighbours stand on one device, so all have rows of each."""
    return jnp.swapaxes(rows.reshape(-1, count, *rows.shape[1:]), 0, 1)


def train_step(
    state: TrainState,
    batch: Batch,
    model: ModelConfig,
    task: Task,
    training: TrainingConfig,
    mesh: Mesh | None,
) -> tuple[TrainState, Metrics]:
    """One step of AdamW on a batch, spread over a mesh or, with None, where it is."""
    if mesh is not None:
        batch = jax.lax.with_sharding_constraint(batch, documents_sharding(mesh))
    gradients, metrics = gradients_and_metrics(model, state.params, task, batch, training)
    factor = schedule(
        state.step, state.hyperparameters.steps, training.warmup_fraction, training.decay
    )
    params, moments = update(gradients, state.moments, state.params, state.hyperparameters, factor)
    return state.replace(step=state.step + 1, params=params, moments=moments), metrics


def no_metrics(training: TrainingConfig) -> Metrics:
    """Where the metrics of a stretch of steps will stand."""
    return {name: jnp.full(training.steps_per_dispatch, jnp.nan) for name in ("loss", "accuracy")}


def note(history: Metrics, i: Int[Array, ""], metrics: Metrics) -> Metrics:
    """A stretch's metrics with those of its step number i."""
    return jax.tree.map(lambda h, m: h.at[i].set(m), history, metrics)


def compile_steps(
    state: TrainState, model: ModelConfig, task: Task, training: TrainingConfig, mesh: Mesh
) -> Callable[[TrainState, int], tuple[TrainState, Metrics]]:
    """A program that takes a number of steps; the state's buffers are donated to it.

    The number is an argument and not a shape: one program serves every stretch between
    two evaluations, and how a run is cut into stretches cannot change its numbers. It may
    be 1 to ``steps_per_dispatch``; metrics come back with that leading axis, only the
    first entries filled.

    Documents of a traceable task are sampled inside the program. Those of another are drawn on
    the host, and each step is a dispatch of its own, compiled once for every bucket of lengths.
    """
    if not task.traceable:
        return _HostSteps(state, model, task, training, mesh)

    def steps(state, count):
        def body(i, carry):
            state, history = carry
            batch = training_batch(
                task, state.key, state.step, training.batch_size, training.training_batches
            )
            state, metrics = train_step(state, batch, model, task, training, mesh)
            return state, note(history, i, metrics)

        return jax.lax.fori_loop(0, count, body, (state, no_metrics(training)))

    where = jax.tree.map(lambda leaf: leaf.sharding, state)
    return jax.jit(steps, donate_argnums=0, out_shardings=(where, replicated(mesh)))


class _HostSteps:
    """The steps on documents that the host draws, while the device is at the step before."""

    def __init__(self, state, model, task, training, mesh):
        self._training = training
        self._documents = HostDocuments(
            task,
            state.key,
            training.batch_size,
            training.training_batches,
            documents_sharding(mesh),
        )
        self._next = int(state.step)  # counted here: reading it off the state would wait for it

        def step(state, history, i, batch):
            state, metrics = train_step(state, batch, model, task, training, mesh)
            return state, note(history, i, metrics)

        where = jax.tree.map(lambda leaf: leaf.sharding, state)
        self._everywhere = replicated(mesh)
        self._step = jax.jit(step, donate_argnums=(0, 1), out_shardings=(where, self._everywhere))

    def __call__(self, state: TrainState, count: int) -> tuple[TrainState, Metrics]:
        # Placed as it comes back from a step: placed otherwise, every bucket is compiled twice.
        history = place(no_metrics(self._training), self._everywhere)
        for i in range(count):
            batch = self._documents.batch(self._next)
            state, history = self._step(state, history, jnp.int32(i), batch)
            self._next += 1
        return state, history
