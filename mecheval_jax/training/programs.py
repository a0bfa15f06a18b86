"""What an ensemble does on the devices, in one of two placements, which the loop does not know.

`RunPrograms`
    one run, spread over a mesh of documents and parameters (`partitioning.mesh`). Its arrays have
    no axis of members.
`training.ensemble.programs.MemberPrograms`
    many runs, which stand along a mesh axis of their own; no device knows of another.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from mecheval_jax.array_types import Array, Float, PyTree
from mecheval_jax.partitioning.mesh import (
    check_batch,
    document_shards,
    documents_sharding,
    replicated,
)
from mecheval_jax.partitioning.multihost import shard
from mecheval_jax.partitioning.padding import padded_rows, resize_tables, resized
from mecheval_jax.partitioning.rules import Rule, rules_of, shardings
from mecheval_jax.tasks.base import Batch
from mecheval_jax.training.data import HostDocuments
from mecheval_jax.training.divergence import Policy
from mecheval_jax.training.ensemble.members import Ensemble
from mecheval_jax.training.state import (
    TrainState,
    document_key,
    hyperparameters_of,
    new_state,
    restored_state,
    saved_part,
)
from mecheval_jax.training.step import (
    Metrics,
    evaluate_state,
    no_metrics,
    take_step,
    take_steps,
)

Steps = Callable[[TrainState, Any, Any], tuple[TrainState, Metrics]]
"""(state, first, stop) -> the state, which is donated, and metrics [member, step]."""

Evaluate = Callable[[TrainState], tuple[TrainState, Metrics]]
"""state -> the state, with what dev documents changed of it, and scores [member]."""


@runtime_checkable
class Programs(Protocol):
    """An ensemble on its devices."""

    ensemble: Ensemble

    def create(self) -> TrainState:
        """The state before the first step, each part of it born where it lives."""
        ...

    @property
    def saved_form(self) -> dict[str, PyTree]:
        """Shapes, types and shardings of what a checkpoint holds."""
        ...

    def saved(self, state: TrainState) -> dict[str, PyTree]:
        """What a checkpoint holds of a state."""
        ...

    def restored(self, saved: dict[str, PyTree]) -> TrainState:
        """The state of which a checkpoint held so much."""
        ...

    def steps(self, policy: Policy) -> Steps:
        """The compiled steps."""
        ...

    def evaluate(self) -> Evaluate:
        """The evaluation on dev documents, compiled when it is first called."""
        ...


class HostSteps:
    """The steps on documents that the host draws, while the devices are at the step before.

    Each is a dispatch of its own, compiled once for every bucket of lengths.

    Args:
        step: `training.step.take_step`: (state, metrics, batch, first) -> (state, metrics).
        draw: Gives the documents of a step, where they live.
        no_metrics: Gives room for the metrics of a stretch, where it lives.
    """

    def __init__(
        self,
        step: Callable[..., tuple[TrainState, Metrics]],
        draw: Callable[[int], Batch],
        no_metrics: Callable[[], Metrics],
    ):
        self._step, self._draw, self._no_metrics = step, draw, no_metrics

    def __call__(self, state: TrainState, first: Any, stop: Any) -> tuple[TrainState, Metrics]:
        """The steps from `first` to before `stop`."""
        metrics = self._no_metrics()
        for at in range(int(first), int(stop)):
            state, metrics = self._step(state, metrics, self._draw(at), first)
        return state, metrics


class RunPrograms:
    """One run, spread over a mesh of axes ``data``, ``fsdp`` and ``model``.

    In training its tables of the vocabulary are padded to the devices; checkpoints have them
    without the padding, and do not depend on the mesh.

    Args:
        ensemble: Of one member.
        mesh: The devices, of all processes.
        rules: Where on them each array lives; `rules_of` the model if None.

    Raises:
        UserError: A batch that does not divide over the devices.
    """

    def __init__(self, ensemble: Ensemble, mesh: Mesh, rules: Sequence[Rule] | None = None):
        (training,) = ensemble.runs
        check_batch(training.batch_size, mesh, training.gradient_accumulation)
        self.ensemble, self.mesh = ensemble, mesh
        self._hyperparameters = hyperparameters_of(training)
        self._rules = rules_of(ensemble.model, mesh) if rules is None else rules

    def create(self) -> TrainState:
        """The state before the first step, each part of it born where it lives."""
        create = jax.jit(self._new_state, static_argnums=0, out_shardings=_where(self.abstract))
        return create(self._padded_rows, self._hyperparameters)

    def _new_state(self, rows: int, hyperparameters: PyTree) -> TrainState:
        return resize_tables(new_state(self.ensemble.model, hyperparameters), rows)

    @property
    def _padded_rows(self) -> int:
        return padded_rows(self.ensemble.model.vocabulary_size, self.mesh)

    @functools.cached_property
    def abstract(self) -> TrainState:
        """Shapes, types and shardings of what `create` gives."""
        return self._abstract(self._padded_rows)

    @functools.cached_property
    def _unpadded(self) -> TrainState:
        rows = self.ensemble.model.vocabulary_size
        return self.abstract if rows == self._padded_rows else self._abstract(rows)

    def _abstract(self, rows: int) -> TrainState:
        shapes = jax.eval_shape(functools.partial(self._new_state, rows), self._hyperparameters)
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            shardings(shapes, self.mesh, self._rules),
        )

    @property
    def saved_form(self) -> dict[str, PyTree]:
        """Shapes, types and shardings of what a checkpoint holds."""
        return saved_part(self._unpadded)

    def saved(self, state: TrainState) -> dict[str, PyTree]:
        """What a checkpoint holds of a state."""
        return saved_part(resized(state, self._unpadded))

    def restored(self, saved: dict[str, PyTree]) -> TrainState:
        """The state of which a checkpoint held so much."""
        where = _where((self.abstract.hyperparameters, self.abstract.key))
        given = jax.jit(
            lambda h: (jax.tree.map(jnp.asarray, h), document_key(h)), out_shardings=where
        )
        return resized(restored_state(saved, *given(self._hyperparameters)), self.abstract)

    def steps(self, policy: Policy) -> Steps:
        """The compiled steps."""
        ensemble, everywhere = self.ensemble, replicated(self.mesh)
        where = (_where(self.abstract), everywhere)
        if ensemble.task.traceable:

            def steps(state, first, stop):
                state, metrics = take_steps(state, first, stop, ensemble, policy)
                return state, _of_one_member(metrics)

            number = jax.ShapeDtypeStruct((), jnp.int32)
            program = jax.jit(steps, donate_argnums=0, out_shardings=where)
            with jax.set_mesh(self.mesh):
                return program.lower(self.abstract, number, number).compile()

        def step(state, metrics, batch, first):
            own = {name: of[0] for name, of in metrics.items()}
            state, own = take_step((state, own), batch, first, ensemble, policy)
            return state, _of_one_member(own)

        training = ensemble.training
        key = document_key(self._hyperparameters)
        shared = training.batch_size, training.training_batches, documents_sharding(self.mesh)
        documents = HostDocuments(ensemble.task, key, *shared)
        program = jax.jit(step, donate_argnums=(0, 1), out_shardings=where)

        # Placed as it comes back from a step: placed otherwise, every bucket is compiled twice.
        def no_metrics_yet():
            return shard(_of_one_member(no_metrics(training)), everywhere)

        return HostSteps(_OnMesh(program, self.mesh), documents.batch, no_metrics_yet)

    def evaluate(self) -> Evaluate:
        """The evaluation on dev documents, compiled when it is first called."""
        (batch,) = self.ensemble.development_documents()
        # Spread over the devices where that comes out even, whole on each where not.
        even = len(batch.tokens) % document_shards(self.mesh) == 0
        everywhere = replicated(self.mesh)
        documents = shard(batch, documents_sharding(self.mesh) if even else everywhere)

        def evaluate(state, batch):
            changed, scores = evaluate_state(state, batch, self.ensemble)
            return changed, _of_one_member(scores)

        program = _OnMesh(jax.jit(evaluate, out_shardings=everywhere), self.mesh)

        def evaluated(state):
            changed, scores = program(state, documents)
            return state.replace(**changed), scores

        return evaluated


class _OnMesh:
    """A program that is called, and so traced, where its mesh is the current one."""

    def __init__(self, program: Any, mesh: Mesh):
        self.program, self._mesh = program, mesh

    def __call__(self, *arguments: Any) -> Any:
        with jax.set_mesh(self._mesh):
            return self.program(*arguments)


def _where(abstract: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.sharding, abstract)


def _of_one_member(metrics: Metrics) -> dict[str, Float[Array, "member ..."]]:
    return {name: of[None] for name, of in metrics.items()}
