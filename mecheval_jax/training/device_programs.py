"""The programs of training: initial states, steps and evaluations, compiled for the devices.

`Programs`
    All that the loop knows of the devices. Programs are made from functions of one run.
`RunPrograms`
    A single run, spread over a mesh of documents and parameters (`partitioning.mesh`). Its arrays
    have no axis of members.
`training.ensemble.member_programs.MemberPrograms`
    Many runs, which lie along a mesh axis of their own; devices exchange nothing.
"""

import abc
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from mecheval_jax.array_types import Array, Key, PyTree
from mecheval_jax.partitioning.mesh import (
    check_batch,
    document_shards,
    documents_sharding,
    replicated,
)
from mecheval_jax.partitioning.multihost import shard
from mecheval_jax.partitioning.padding import padded_rows, resize_tables, resized
from mecheval_jax.partitioning.rules import Rule, rules_of, shardings
from mecheval_jax.training.compiler_options import compiler_options
from mecheval_jax.training.host_steps import HostSteps
from mecheval_jax.training.members import Ensemble
from mecheval_jax.training.optimizer import Hyperparameters
from mecheval_jax.training.state import (
    Policy,
    TrainState,
    document_key,
    hyperparameters_of,
    new_state,
    restored_state,
    saved_part,
)
from mecheval_jax.training.step import Metrics, evaluate_state, take_steps

Steps = Callable[[TrainState, Any, Any], tuple[TrainState, Metrics]]
"""(state, first, stop) -> (state, metrics of every step); the given state is donated."""

Evaluate = Callable[[TrainState], tuple[TrainState, Metrics]]
"""state -> (state, scores): the state may have stopped or diverged by the scores."""

NUMBER = jax.ShapeDtypeStruct((), jnp.int32)


class Programs(abc.ABC):
    """An ensemble on its devices; a subclass decides how it is laid out.

    Args:
        ensemble: The runs.
        mesh: Mesh of the devices.
        hyperparameters: Hyperparameters of the runs.
        sharding: Sharding of arrays that are neither states nor documents.

    Attributes:
        rows_sharding: Sharding of the documents that the host draws for a run; None if those of all
            runs are placed together.
        table_rows: Number of rows of the vocabulary's tables during training.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        mesh: Mesh,
        hyperparameters: Hyperparameters,
        sharding: NamedSharding,
    ):
        self.ensemble, self.mesh, self.sharding = ensemble, mesh, sharding
        self._hyperparameters = hyperparameters
        self.rows_sharding: NamedSharding | None = None
        self.table_rows = ensemble.model.vocabulary_size

    @property
    def platform(self) -> str:
        """Platform of the devices, as jax names it."""
        return self.mesh.devices.flat[0].platform

    # The layout on the devices, which a subclass decides.

    @abc.abstractmethod
    def state_shardings(self, shapes: TrainState) -> PyTree:
        """Shardings of the leaves of a state."""

    @abc.abstractmethod
    def joined(self, batches: Sequence[PyTree]) -> PyTree:
        """The documents of all runs as one tree: of each run a tree of arrays with rows."""

    @abc.abstractmethod
    def spread(self, documents: PyTree) -> PyTree:
        """The documents of all runs, as `joined` gives them, on their devices."""

    @abc.abstractmethod
    def on_all(self, one: Callable, shared: int = 0) -> Callable:
        """A function of one run's trees, turned into one of all runs' trees.

        Args:
            one: Traceable function: (tree, ..., shared, ...) -> tree.
            shared: Number of arguments, the last ones, that are the same for all runs.
        """

    # The programs.

    def placed(self, batches: Sequence[PyTree]) -> PyTree:
        """The documents of all runs, on their devices; arguments as in `joined`.

        Arrays of the host stay there for a single device, which gets them as its program starts.
        """
        documents = self.joined(batches)
        on_host = isinstance(jax.tree.leaves(documents)[0], np.ndarray)
        return documents if on_host and self.mesh.size == 1 else self.spread(documents)

    def create(self) -> TrainState:
        """The state before the first step, each part of it initialised on its own devices."""
        return self._birth(self._hyperparameters)

    @functools.cached_property
    def _birth(self) -> Any:
        return jax.jit(self._new(self.table_rows), out_shardings=_where(self.abstract))

    def _new(self, rows: int) -> Callable[[Hyperparameters], TrainState]:
        return self.on_all(
            lambda values: resize_tables(new_state(self.ensemble.model, values), rows)
        )

    @functools.cached_property
    def abstract(self) -> TrainState:
        """Shapes, types and shardings of the state that `create` gives."""
        return self._abstract(self.table_rows)

    @functools.cached_property
    def _unpadded(self) -> TrainState:
        rows = self.ensemble.model.vocabulary_size
        return self.abstract if rows == self.table_rows else self._abstract(rows)

    def _abstract(self, rows: int) -> TrainState:
        shapes = jax.eval_shape(self._new(rows), self._hyperparameters)
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            self.state_shardings(shapes),
        )

    @property
    def saved_form(self) -> dict[str, PyTree]:
        """Shapes, types and shardings of what a checkpoint holds."""
        return saved_part(self._unpadded)

    def saved(self, state: TrainState) -> dict[str, PyTree]:
        """The part of a state that a checkpoint holds."""
        return saved_part(resized(state, self._unpadded))

    def restored(self, saved: dict[str, PyTree]) -> TrainState:
        """The whole state, from the part that a checkpoint holds."""

        def given(values: Hyperparameters) -> tuple[Hyperparameters, Key]:
            return jax.tree.map(jnp.asarray, values), document_key(values)

        where = _where((self.abstract.hyperparameters, self.abstract.key))
        rest = jax.jit(self.on_all(given), out_shardings=where)(self._hyperparameters)
        return resized(restored_state(saved, *rest), self.abstract)

    def steps(self, policy: Policy) -> Steps:
        """The training steps, compiled unless the host draws their documents."""
        ensemble = self.ensemble
        if ensemble.task.traceable:
            steps = functools.partial(take_steps, ensemble=ensemble, policy=policy)
            return self.compiled(self.on_all(steps, shared=2), 2)
        return HostSteps(self, policy)

    def compiled(self, program: Callable, numbers: int) -> Any:
        """Compile a program: (state, which is donated, number, ...) -> (state, metrics)."""
        where = (_where(self.abstract), self.sharding)
        options = compiler_options(self.platform)
        jitted = jax.jit(program, donate_argnums=0, out_shardings=where, compiler_options=options)
        return jitted.lower(self.abstract, *[NUMBER] * numbers).compile()

    def evaluate(self) -> Evaluate:
        """The evaluation on dev documents, compiled when it is first called."""
        documents = self.placed(self.ensemble.development_documents())

        def evaluated(state: TrainState) -> tuple[TrainState, Metrics]:
            changed, scores = self.evaluation(state, documents)
            return state.replace(**changed), scores

        return evaluated

    @functools.cached_property
    def evaluation(self) -> Any:
        """Program: (state, dev documents) -> (changed fields of the state, scores)."""
        one = functools.partial(evaluate_state, ensemble=self.ensemble)
        return jax.jit(self.on_all(one), out_shardings=self.sharding)


class RunPrograms(Programs):
    """One run, spread over a mesh of axes ``data``, ``fsdp`` and ``model``.

    During training, tables of the vocabulary are padded to a multiple of the devices; checkpoints
    hold them without padding, so that they do not depend on the mesh.

    Args:
        ensemble: Ensemble of one member.
        mesh: Mesh of the devices of all processes.
        rules: Partitioning rules of the arrays; `rules_of` the model if None.

    Raises:
        UserError: If the batch does not divide over the devices.
    """

    def __init__(self, ensemble: Ensemble, mesh: Mesh, rules: Sequence[Rule] | None = None):
        (training,) = ensemble.runs
        check_batch(training.batch_size, mesh, training.gradient_accumulation)
        super().__init__(ensemble, mesh, hyperparameters_of(training), replicated(mesh))
        self.rows_sharding = documents_sharding(mesh)
        self.table_rows = padded_rows(ensemble.model.vocabulary_size, mesh)
        self._rules = rules_of(ensemble.model, mesh) if rules is None else rules

    def state_shardings(self, shapes: TrainState) -> PyTree:
        """Shardings of the leaves of a state, by the rules."""
        return shardings(shapes, self.mesh, self._rules)

    def joined(self, batches: Sequence[PyTree]) -> PyTree:
        """The documents of the only run."""
        (of_run,) = batches
        return of_run

    def spread(self, documents: PyTree) -> PyTree:
        """The documents, spread over the devices if they divide evenly, otherwise replicated."""

        def place(leaf: Array) -> Array:
            even = len(leaf) % document_shards(self.mesh) == 0
            where = self.rows_sharding if even else self.sharding
            return leaf if leaf.sharding == where else shard(leaf, where)

        return jax.tree.map(place, documents)

    def on_all(self, one: Callable, shared: int = 0) -> Callable:
        """A function that is traced with the mesh as the current one."""

        def on_mesh(*arguments: Any) -> Any:
            with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
                return one(*arguments)

        return on_mesh


def _where(abstract: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.sharding, abstract)
