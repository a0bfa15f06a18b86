"""The training step, many of them as one program, and the evaluation on dev documents.

Every function here is about a single run. `training.ensemble.member_programs` makes functions of
many runs from them, by `jax.vmap` or `jax.lax.map`; `training.device_programs` spreads one run over
many devices, by the shardings of its state.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from mecheval_jax.array_types import Array, Bool, Float, Int, PyTree, Shaped
from mecheval_jax.mesh_axes import DOCUMENTS, current_mesh
from mecheval_jax.models.language_model import (
    LanguageModel,
    ModelConfig,
    exempt_from_decay,
    scaled_rates,
)
from mecheval_jax.ops.dense import quick_gradients
from mecheval_jax.ops.unit_axes import without_unit_axes
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.tasks.scoring import AnswerScores, score, weighted_mean
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.data import training_batch
from mecheval_jax.training.members import Ensemble
from mecheval_jax.training.optimizer import Special, schedule, update
from mecheval_jax.training.state import NEVER, Policy, TrainState

Metrics = dict[str, Float[Array, "..."]]

Totals = tuple[Float[Array, ""], Float[Array, ""]]
"""The weights of all losses of some documents, and of all queries."""

Shares = tuple[PyTree, Metrics]
"""Gradients and metrics of some parts of a step: what they add to the means over its queries."""


def read(task: Task, batch: Batch) -> Array:
    """The tokens that a causal model needs to answer every query."""
    return batch.tokens[:, : task.read_length]


def answer(
    model: ModelConfig, params: PyTree, task: Task, batch: Batch, remat: str = "none"
) -> AnswerScores:
    """Scores of the model's answers to every query."""
    rows = len(params["token_embedding"]["embedding"])
    logits = LanguageModel(model, rows, remat).apply(
        {"params": params}, read(task, batch), batch.query_positions, skip_unread=True
    )
    return score(logits, batch)


def loss_and_accuracy(
    model: ModelConfig, params: PyTree, task: Task, batch: Batch
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Loss of training in nats (the mean by `Task.loss_weights`), and accuracy, at the queries."""
    scores = answer(model, params, task, batch)
    loss = weighted_mean(scores.loss, task.loss_weights(batch))
    return loss, weighted_mean(scores.correct, batch.weights)


def is_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether every number of a tree is finite. Traceable."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def gradients_and_metrics(
    model: ModelConfig,
    params: PyTree,
    task: Task,
    batch: Batch,
    training: TrainingConfig,
    totals: Totals | None = None,
) -> tuple[PyTree, Metrics]:
    """Gradients of the mean loss over a batch, with that loss and the accuracy.

    Micro-batches are computed one after another. Each adds its share of the mean over all queries
    of the batch, so that documents with more queries weigh as much as in one pass.

    Args:
        model: Config of the model.
        params: Parameters.
        task: Task of the documents.
        batch: The documents.
        training: Regime of the training.
        totals: Those of the step of which the batch is a part; its own if None.
    """
    all_weights, all_queries = totals or (task.loss_weights(batch).sum(), batch.weights.sum())

    def share(params: PyTree, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        found = answer(model, params, task, batch, training.remat)
        loss = (found.loss * task.loss_weights(batch)).sum() / all_weights
        return loss, {"loss": loss, "accuracy": (found.correct * batch.weights).sum() / all_queries}

    def gradient(params: PyTree, batch: Batch) -> tuple[PyTree, Metrics]:
        found = jax.grad(share, has_aux=True)
        if not _on_one_cpu():
            return found(params, batch)
        with quick_gradients():
            return without_unit_axes(found)(params, batch)

    if training.gradient_accumulation == 1:
        return gradient(params, batch)

    # The shares of micro-batches are added up, one after another.
    def add(sums: PyTree, batch: Batch) -> tuple[PyTree, None]:
        return jax.tree.map(jnp.add, sums, gradient(params, batch)), None

    micro = jax.tree.map(lambda leaf: _micro(leaf, training.gradient_accumulation), batch)
    first = jax.tree.map(lambda leaf: leaf[0], micro)
    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(gradient, params, first))
    return jax.lax.scan(add, zeros, micro)[0]


def _on_one_cpu() -> bool:
    """Whether each program is one CPU's: what is laid out over several, XLA decides."""
    mesh = current_mesh()
    return jax.default_backend() == "cpu" and (mesh is None or mesh.size == 1)


def _micro(rows: Shaped[Array, "batch ..."], count: int) -> Shaped[Array, "count micro ..."]:
    """Micro-batches of every `count`-th row: neighbours lie on one device, so all have its rows."""
    return jnp.swapaxes(rows.reshape(-1, count, *rows.shape[1:]), 0, 1)


def special_parameters(model: ModelConfig, training: TrainingConfig) -> dict[str, Special]:
    """Paths of the parameters that are trained as the authors of their mixer do, and how."""
    exempt = exempt_from_decay(model) if training.exempt_from_decay else ()
    rates = scaled_rates(model) if training.scaled_rates else {}
    paths = dict.fromkeys((*exempt, *rates))
    return {path: Special(rates.get(path, 1.0), path not in exempt) for path in paths}


def spread(batch: Batch) -> Batch:
    """A batch spread over the current mesh, where there is one."""
    if current_mesh() is None:
        return batch
    return jax.lax.with_sharding_constraint(batch, PartitionSpec(DOCUMENTS))


def train_step(
    state: TrainState, batch: Batch, ensemble: Ensemble, policy: Policy
) -> tuple[TrainState, Metrics]:
    """One step of AdamW on a batch; see `descend`."""
    found = gradients_and_metrics(
        ensemble.model, state.params, ensemble.task, spread(batch), ensemble.training
    )
    return descend(state, *found, ensemble, policy)


def descend(
    state: TrainState, gradients: PyTree, metrics: Metrics, ensemble: Ensemble, policy: Policy
) -> tuple[TrainState, Metrics]:
    """The state after a step with these gradients, and the metrics.

    Under `Policy.FREEZE` the state stays as it was if the step gives numbers that are not finite.
    """
    training, values = ensemble.training, state.hyperparameters
    factor = schedule(state.step, values.steps, training.warmup_fraction, training.decay)
    special = special_parameters(ensemble.model, training)
    params, opt_state = update(gradients, state.opt_state, state.params, values, factor, special)
    after = state.replace(step=state.step + 1, params=params, opt_state=opt_state)
    if policy is Policy.RAISE:  # the host looks at the losses, and at what it saves
        return after, metrics
    good = is_finite((metrics["loss"], params, opt_state))
    kept = jax.tree.map(functools.partial(jnp.where, good), after, state)
    return kept.replace(diverged_at=jnp.where(good, state.diverged_at, state.step)), metrics


def no_metrics(training: TrainingConfig) -> Metrics:
    """Metrics of a stretch of steps before any is taken: NaN."""
    return {name: jnp.full(training.steps_per_dispatch, jnp.nan) for name in ("loss", "accuracy")}


def note(history: Metrics, i: Int[Array, ""], metrics: Metrics) -> Metrics:
    """The metrics of a stretch, with those of step number i filled in."""
    return jax.tree.map(lambda h, m: h.at[i].set(m), history, metrics)


def take_steps(
    state: TrainState,
    first: Int[Array, ""],
    stop: Int[Array, ""],
    ensemble: Ensemble,
    policy: Policy,
) -> tuple[TrainState, Metrics]:
    """Take the steps from `first` to before `stop`, or to the end of the run, of a traceable task.

    `first` and `stop` are arguments and not shapes: one program serves every stretch between two
    evaluations, and how a run is cut into stretches cannot change its numbers. Metrics have a
    leading axis of ``steps_per_dispatch``; entry i is that of step first + i, NaN where no step
    was taken.
    """
    task, training = ensemble.task, ensemble.training

    def body(carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
        state, history = carry
        batch = training_batch(task, state.key, state.step, training.batch_size, training.replay)
        after, metrics = train_step(state, batch, ensemble, policy)
        return after, note(history, state.step - first, metrics)

    def under_way(carry: tuple[TrainState, Metrics]) -> Bool[Array, ""]:
        state, _ = carry
        return state.learns & (state.step < stop)

    return jax.lax.while_loop(under_way, body, (state, no_metrics(training)))


def take_step(
    state: TrainState,
    history: Metrics,
    parts: Sequence[dict[str, Any]],
    first: Int[Array, ""],
    ensemble: Ensemble,
    policy: Policy,
) -> tuple[TrainState, Metrics]:
    """Take one step on documents from the host; metrics are those of `take_steps`.

    Parts are fields of a `Batch` of each, so that arrays of the host may be among them.
    """
    *others, last = parts
    totals, shares = totals_of(parts, ensemble.task), None
    for fields in others:
        shares = add_share(shares, state.params, fields, totals, ensemble)
    return take_last_part(state, history, (shares, last, totals), first, ensemble, policy)


def totals_of(parts: Sequence[dict[str, Any]], task: Task) -> Totals:
    """The weights of all losses of the parts of a step, and of all queries."""
    batches = [Batch(**fields) for fields in parts]
    of_losses = sum(task.loss_weights(batch).sum() for batch in batches)
    return of_losses, sum(batch.weights.sum() for batch in batches)


def add_share(
    shares: Shares | None,
    params: PyTree,
    fields: dict[str, Any],
    totals: Totals,
    ensemble: Ensemble,
) -> Shares:
    """The shares of the parts so far, None before the first, with that of a further one.

    Args:
        shares: Gradients and metrics, added up.
        params: Parameters.
        fields: The part, as in `take_step`.
        totals: Totals of all parts of the step.
        ensemble: The runs.
    """
    batch = spread(Batch(**fields))
    found = gradients_and_metrics(
        ensemble.model, params, ensemble.task, batch, ensemble.training, totals
    )
    return found if shares is None else jax.tree.map(jnp.add, shares, found)


def take_last_part(
    state: TrainState,
    history: Metrics,
    parts: tuple[Shares | None, dict[str, Any], Totals],
    first: Int[Array, ""],
    ensemble: Ensemble,
    policy: Policy,
) -> tuple[TrainState, Metrics]:
    """Take the step as `take_step` does, from the shares of its other parts and the last part."""
    others, fields, totals = parts
    gradients, metrics = add_share(others, state.params, fields, totals, ensemble)
    after, metrics = descend(state, gradients, metrics, ensemble, policy)
    taken = after, note(history, state.step - first, metrics)
    if policy is Policy.RAISE:  # the host never starts a step too many
        return taken
    return jax.tree.map(functools.partial(jnp.where, state.learns), taken, (state, history))


def evaluate_state(
    state: TrainState, batch: Batch, ensemble: Ensemble
) -> tuple[dict[str, Int[Array, ""]], Metrics]:
    """Fields of the state that an evaluation changes, and loss and accuracy on dev documents.

    A run stops if it has reached the target, and has diverged if the loss is not finite.
    """
    training = ensemble.training
    loss, accuracy = loss_and_accuracy(ensemble.model, state.params, ensemble.task, batch)
    # An ensemble is also evaluated at the last step of a shorter run. Trained alone, this run would
    # not be evaluated there, so it must not end there either.
    due = state.step % training.evaluate_every == 0
    last = state.step == state.hyperparameters.steps
    fine = jnp.isfinite(loss) | (state.diverged_at != NEVER) | ~(due | last)
    diverged_at = jnp.where(fine, state.diverged_at, state.step - 1)
    stopped_at = state.stopped_at
    if training.target_accuracy is not None:
        reached = state.learns & due & (accuracy >= training.target_accuracy)
        stopped_at = jnp.where(reached, state.step, stopped_at)
    changed = {"diverged_at": diverged_at, "stopped_at": stopped_at}
    return changed, {"loss": loss, "accuracy": accuracy}
