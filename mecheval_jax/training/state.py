"""The whole state of a run, and its birth on the devices where it lives."""

import typing

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from mecheval_jax.array_types import Array, Int, Key, PyTree
from mecheval_jax.models.language_model import ModelConfig, initialize
from mecheval_jax.partitioning.padding import padded_rows, resize_tables
from mecheval_jax.partitioning.rules import Rule, rules_of, shardings
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.optimizer import ADAM, Hyperparameters


@typing.no_type_check  # as a tree it also holds shapes and shardings
@flax.struct.dataclass
class TrainState:
    """All that a step reads and writes.

    Attributes:
        step: steps taken; it is also the state of the data.
        params: parameters of the model.
        moments: Adam's running means.
        hyperparameters: learning rate, weight decay and schedule length, as data.
        key: of the documents; folded with the step.
    """

    step: Int[Array, ""]
    params: PyTree
    moments: optax.OptState
    hyperparameters: Hyperparameters
    key: Key


def new_state(model: ModelConfig, training: TrainingConfig, rows: int | None = None) -> TrainState:
    """The state before the first step. Traceable.

    Args:
        model: shape of the model.
        training: regime.
        rows: of the tables of the vocabulary, if they are padded.
    """
    params = initialize(model, jax.random.key(training.seed))
    params = params if rows is None else resize_tables(params, rows)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        moments=ADAM.init(params),
        hyperparameters=Hyperparameters(
            learning_rate=jnp.float32(training.learning_rate),
            weight_decay=jnp.float32(training.weight_decay),
            steps=jnp.int32(training.steps),
        ),
        key=jax.random.key(training.data_seed),
    )


def abstract_state(
    model: ModelConfig,
    training: TrainingConfig,
    mesh: Mesh,
    rules: tuple[Rule, ...] | None = None,
    *,
    rows: int | None = None,
) -> TrainState:
    """Shapes, types and shardings of the state, nothing allocated.

    Args:
        model: shape of the model.
        training: regime.
        mesh: the devices that hold it.
        rules: where on them; `rules_of` the model if None.
        rows: of the tables of the vocabulary, if they are padded.
    """
    rules = rules_of(model, mesh) if rules is None else rules
    shapes = jax.eval_shape(lambda: new_state(model, training, rows))
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        shardings(shapes, mesh, rules),
    )


def create_state(
    model: ModelConfig,
    training: TrainingConfig,
    mesh: Mesh,
    rules: tuple[Rule, ...] | None = None,
) -> TrainState:
    """A new state with padded tables, each parameter drawn on the devices that will hold it."""
    rows = padded_rows(model.vocabulary_size, mesh)
    abstract = abstract_state(model, training, mesh, rules, rows=rows)
    where = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return jax.jit(lambda: new_state(model, training, rows), out_shardings=where)()
