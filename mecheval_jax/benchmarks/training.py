"""Benchmark of the training step on associative recall.

    share of the matrix rate =
        6 (sum over matrix weights of tokens that they see + width x vocabulary x queries)
        / time / matrix rate

where only the products of the forward and backward pass count, and the embedding does not. Weights
of the last layer that act at the queries alone count only the tokens there.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from mecheval_jax.array_types import PyTree, Scalar
from mecheval_jax.benchmarks.measured import PERCENT, TIMES, Measured, in_turn, one, ratio, times
from mecheval_jax.evaluation.cost.timing import matrix_rate
from mecheval_jax.mixers.architectures import positions_of
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.partitioning.mesh import make_mesh
from mecheval_jax.site_path import block_name
from mecheval_jax.tasks.base import Task
from mecheval_jax.tasks.scoring import score, weighted_mean
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.device_programs import RunPrograms
from mecheval_jax.training.members import Ensemble
from mecheval_jax.training.state import Policy
from mecheval_jax.training.step import loss_and_accuracy

RELATIVES = {
    "gated_delta_net": ("kda", "gated_delta_net_2", "comba", "rwkv7"),
    "mamba2": ("mamba3",),
}
"""Mixers, and those that do more in the same form, whose step is measured beside theirs."""

STEPS = (("attention", 64), ("based", 64), ("mamba", 64), ("attention", 256), ("based", 256))
"""Mixers and widths whose training step is taken apart."""

AT_QUERY = ("q_proj", "out_proj", "proj_q", "proj_o", "projection", "mlp")
"""Modules of the last layer that are computed at the queries alone."""


def training_steps(steps: int) -> Iterator[Measured]:
    """Times of a step, its share of the matrix rate, and the saving of computing at queries alone.

    Gradients are measured without sampling and update: as they are; with logits at every position
    and the whole last layer; and with the whole last layer but logits at the queries.
    """
    for mixer, width in STEPS:
        task = AssociativeRecall()
        positions = positions_of(mixer)
        model = ModelConfig(mixer, 2, width, task.vocabulary_size, 1024, positions=positions)
        training = TrainingConfig(steps, training_batches=3126, steps_per_dispatch=steps)
        name, rate = f"{mixer}, width {width}", matrix_rate()
        step = whole_step(name, model, task, training, steps)
        share = _flops(model, task, training.batch_size) / step.median / rate
        yield dataclasses.replace(step, quantity="step")
        yield one(name, "share of the matrix rate", 100 * share, PERCENT)
        for quantity, whole in (
            ("gradient", None),
            ("with all logits", "logits"),
            ("with the whole last layer", "layer"),
        ):
            yield times(name, quantity, _gradient(model, task, training, whole), repeats=20)


def steps_of_relatives() -> Iterator[Measured]:
    """Times of a training step at width 64 in turn, and ratios to that of the first of a family."""
    task = AssociativeRecall()
    training = TrainingConfig(20, training_batches=3126, steps_per_dispatch=20)
    for first, others in RELATIVES.items():
        runs = {}
        for mixer in (first, *others):
            model = ModelConfig(mixer, 2, 64, task.vocabulary_size, 1024)
            runs[mixer] = steps_on_one_device(model, task, training, 20)
        spent = in_turn(runs, rounds=7, per=20)
        found = {mixer: Measured(mixer, "step", values) for mixer, values in spent.items()}
        yield from found.values()
        for mixer in others:
            values = ratio(found[mixer], found[first]).values
            yield Measured(mixer, f"to {first}", values, TIMES)


def whole_step(
    what: str, model: ModelConfig, task: Task, training: TrainingConfig, steps: int
) -> Measured:
    """Times of a training step of a single run, on one device, in three runs of `steps` steps."""
    call = steps_on_one_device(model, task, training, steps)
    return times(what, "alone", call, repeats=3, per=steps)


def steps_on_one_device(
    model: ModelConfig, task: Task, training: TrainingConfig, steps: int
) -> Callable[[], object]:
    """A function that takes the next `steps` training steps of a run, and returns their metrics."""
    endless = dataclasses.replace(training, steps=2**30)
    programs = RunPrograms(Ensemble(model, task, (endless,)), make_mesh(jax.devices()[:1]))
    program, state, first = programs.steps(Policy.RAISE), programs.create(), 0

    def take() -> object:
        nonlocal state, first
        state, metrics = program(state, np.int32(first), np.int32(first + steps))
        first += steps
        return jax.block_until_ready(metrics)

    return take


def _gradient(
    model: ModelConfig, task: Task, training: TrainingConfig, whole: str | None
) -> Callable[[], PyTree]:
    """A function that computes the gradient of the loss.

    `whole` names the parts that are computed at all positions: the last ``layer``, that layer and
    the ``logits``, or None for neither.
    """
    params = initialize(model, jax.random.key(0))
    batch = task.sample(jax.random.key(0), training.batch_size, "train")

    def loss(params: PyTree) -> Scalar:
        if whole is None:
            return loss_and_accuracy(model, params, task, batch)[0]
        tokens = batch.tokens[:, : task.read_length]
        positions = batch.query_positions if whole == "layer" else None
        logits = LanguageModel(model).apply({"params": params}, tokens, positions)
        if positions is None:
            # A loss over all positions, with weight 0 at positions without a query.
            index = jnp.arange(tokens.shape[1])
            inside = batch.query_positions[..., None] == index[None, None]
            everywhere = dataclasses.replace(
                batch,
                query_positions=jnp.broadcast_to(index, tokens.shape),
                roles={},
                targets=jnp.broadcast_to(batch.targets, tokens.shape),
                weights=inside.any(axis=1).astype(logits.dtype),
            )
            return weighted_mean(score(logits, everywhere).loss, everywhere.weights)
        return weighted_mean(score(logits, batch).loss, batch.weights)

    return functools.partial(jax.jit(jax.grad(loss)), params)


def _flops(model: ModelConfig, task: AssociativeRecall, batch: int) -> float:
    """Operations of a training step, as defined in the module's docstring."""
    shapes = jax.eval_shape(lambda: initialize(model, jax.random.key(0)))
    last = f"{block_name(model.layers - 1)}/"
    total = 6 * model.width * model.vocabulary_size * batch * task.queries
    for path, leaf in flatten_dict(shapes, sep="/").items():
        if not path.endswith("kernel"):
            continue
        at_query = path.startswith(last) and any(f"/{name}/" in path for name in AT_QUERY)
        tokens = batch * (task.queries if at_query else task.read_length)
        total += 6 * leaf.size * tokens
    return total
