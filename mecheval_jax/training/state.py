"""The whole state of a run, and its birth on the devices where it lives."""

import typing

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from mecheval_jax.array_types import Array, Int, Key, PyTree
from mecheval_jax.mesh_axes import AnyMesh
from mecheval_jax.models.language_model import ModelConfig, initialize
from mecheval_jax.partitioning.padding import padded_rows, resize_tables
from mecheval_jax.partitioning.rules import Rule, rules_of, shardings
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.optimizer import Hyperparameters, new_moments


@typing.no_type_check  # as a tree it also holds shapes and shardings
@flax.struct.dataclass
class TrainState:
    """All that a step reads and writes.

    Attributes:
        step: steps taken; it is also the state of the data.
        params: parameters of the model.
        moments: Adam's running means.
        hyperparameters: what runs of one shape differ in, as data.
        key: of the documents; folded with the step.
    """

    step: Int[Array, ""]
    params: PyTree
    moments: optax.OptState
    hyperparameters: Hyperparameters
    key: Key


HYPERPARAMETERS = {
    "learning_rate": np.float32,
    "weight_decay": np.float32,
    "beta1": np.float32,
    "beta2": np.float32,
    "steps": np.int32,
    "seed": np.uint32,
    "data_seed": np.uint32,
}
"""Fields of `TrainingConfig` in which runs of one shape may differ, and their types as data."""


def hyperparameters_of(training: TrainingConfig) -> Hyperparameters:
    """The part of a config that is data, on the host."""
    return Hyperparameters(
        **{name: kind(getattr(training, name)) for name, kind in HYPERPARAMETERS.items()}
    )


def new_state(
    model: ModelConfig, hyperparameters: Hyperparameters, rows: int | None = None
) -> TrainState:
    """The state before the first step, with tables of so many rows if given. Traceable."""
    params = initialize(model, jax.random.key(hyperparameters.seed))
    params = params if rows is None else resize_tables(params, rows)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        moments=new_moments(params),
        hyperparameters=jax.tree.map(jnp.asarray, hyperparameters),
        key=jax.random.key(hyperparameters.data_seed),
    )


SAVED = ("step", "params", "moments")
"""What a checkpoint holds of a state; all else follows from the config."""


def saved_part(state: TrainState) -> dict[str, PyTree]:
    """What a checkpoint holds of a state, or of an abstract one."""
    return {name: getattr(state, name) for name in SAVED}


def restored_state(
    saved: dict[str, PyTree], training: TrainingConfig, abstract: TrainState
) -> TrainState:
    """The state whose `saved_part` a checkpoint held."""

    def given():
        key = jax.random.key(training.data_seed)
        return jax.tree.map(jnp.asarray, hyperparameters_of(training)), key

    where = jax.tree.map(lambda leaf: leaf.sharding, (abstract.hyperparameters, abstract.key))
    hyperparameters, key = jax.jit(given, out_shardings=where)()
    return TrainState(**saved, hyperparameters=hyperparameters, key=key)


def abstract_state(
    model: ModelConfig,
    training: TrainingConfig,
    mesh: AnyMesh,
    rules: tuple[Rule, ...] | None = None,
    *,
    padded: bool = False,
) -> TrainState:
    """Shapes, types and shardings of the state, nothing allocated.

    Args:
        model: shape of the model.
        training: regime.
        mesh: the devices that hold it.
        rules: where on them; `rules_of` the model if None.
        padded: whether the tables of the vocabulary are filled up, as in training.
    """
    rules = rules_of(model, mesh) if rules is None else rules
    rows = padded_rows(model.vocabulary_size, mesh) if padded else None
    shapes = jax.eval_shape(lambda: new_state(model, hyperparameters_of(training), rows))
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
    abstract = abstract_state(model, training, mesh, rules, padded=True)
    where = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    create = jax.jit(new_state, static_argnums=(0, 2), out_shardings=where)
    return create(model, hyperparameters_of(training), padded_rows(model.vocabulary_size, mesh))
