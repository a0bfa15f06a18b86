"""Programs of an ensemble of many runs, computed by a strategy.

Members lie along the mesh axis ``member``. Each device computes its own by the strategy that was
requested or is measured to be the fastest (`ensemble.strategy_choice`); devices exchange nothing.
"""

import copy
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mecheval_jax.array_types import PyTree
from mecheval_jax.partitioning.multihost import fetch, is_multiprocess
from mecheval_jax.training.device_programs import Programs, Steps
from mecheval_jax.training.ensemble.mesh import (
    members_sharding,
    on_member_of_each_device,
    on_members,
    padded_count,
    shard_members,
)
from mecheval_jax.training.ensemble.strategy import Strategy
from mecheval_jax.training.members import Ensemble, stack
from mecheval_jax.training.state import Policy, TrainState
from mecheval_jax.training.step import Metrics, take_steps

MEASURED_STEPS = 10
"""Number of steps of each member by which a strategy is timed."""


class MemberPrograms(Programs):
    """An ensemble whose members are spread over devices, along the leading axis of every array.

    Args:
        ensemble: The runs.
        mesh: Mesh of `training.ensemble.mesh.member_mesh`.
        strategy: Strategy that computes the members; if None, one vmap over all of a device.
    """

    def __init__(self, ensemble: Ensemble, mesh: Mesh, strategy: Strategy | None = None):
        self.on_each = padded_count(len(ensemble.runs), mesh) // mesh.size
        self.strategy = strategy or Strategy("vmap", self.on_each)
        # Members that only fill the last devices up get a schedule of no steps: they keep no device
        # busy, whatever a checkpoint restores for them.
        steps = np.zeros(self.on_each * mesh.size, np.int32)
        steps[: len(ensemble.runs)] = ensemble.hyperparameters.steps
        hyperparameters = shard_members(ensemble.hyperparameters, mesh)
        hyperparameters = hyperparameters.replace(steps=shard_members(steps, mesh))
        super().__init__(ensemble, mesh, hyperparameters, members_sharding(mesh))
        self._compiled: dict[tuple[Policy, Strategy], Steps] = {}

    def with_strategy(self, strategy: Strategy) -> "MemberPrograms":
        """The same ensemble, computed by another strategy; training steps are compiled once."""
        other = copy.copy(self)
        other.strategy = strategy
        for kept in ("_birth", "evaluation"):  # made by the strategy before
            other.__dict__.pop(kept, None)
        return other

    def state_shardings(self, shapes: TrainState) -> PyTree:
        """Shardings of the leaves of a state."""
        return jax.tree.map(lambda leaf: self.sharding, shapes)

    def joined(self, batches: Sequence[PyTree]) -> PyTree:
        """The documents of the members along a leading axis."""
        return stack(batches)

    def spread(self, documents: PyTree) -> PyTree:
        """The documents of each member, on the member's device."""
        return shard_members(documents, self.mesh)

    def on_all(self, one: Callable, shared: int = 0) -> Callable:
        """A function of one member's trees, turned by the strategy into one of all members'."""
        return on_members(one, self.mesh, self.strategy.at_once, shared)

    def saved(self, state: TrainState) -> dict[str, PyTree]:
        """The part of a state that a checkpoint holds.

        Each process writes the members of its own devices. A single process writes from the host,
        where the copy takes no memory of the devices.
        """
        saved = super().saved(state)
        return saved if is_multiprocess() else fetch(saved)

    def steps(self, policy: Policy) -> Steps:
        """The training steps, computed by the strategy of the ensemble."""
        chosen = policy, self.strategy
        if chosen not in self._compiled:
            make = self._loop if self.strategy.kind == "loop" else super().steps
            self._compiled[chosen] = make(policy)
        return self._compiled[chosen]

    def steps_by(self, strategy: Strategy) -> Any:
        """The training steps, computed by any strategy."""
        return self.with_strategy(strategy).steps(Policy.FREEZE)

    def _loop(self, policy: Policy) -> "_Loop":
        one = functools.partial(take_steps, ensemble=self.ensemble, policy=policy)
        program = on_member_of_each_device(one, self.mesh, shared=2)
        return _Loop(self.compiled(program, numbers=3), self.on_each)

    @property
    def measured_steps(self) -> int:
        """Number of steps of each member that `seconds_of` measures: one dispatch at most."""
        return min(MEASURED_STEPS, self.ensemble.training.steps_per_dispatch)

    def seconds_of(self, strategy: Strategy) -> float:
        """Time of `measured_steps` steps of every member; the lower of two measurements.

        Documents that the host draws are those of the first step again and again: other lengths
        would need other programs, each of which compiles for seconds.
        """
        endless = self._hyperparameters.replace(steps=self._hyperparameters.steps * 0 + 2**30)
        run, members = self.steps_by(strategy), self._birth(endless)
        count = self.measured_steps
        stretches = [[(at * count, (at + 1) * count)] for at in range(3)]
        if not self.ensemble.task.traceable:
            stretches = [[(0, 1)] * count] * 3
        times = []
        for stretch in stretches:  # the first also pays one-time costs
            start = time.perf_counter()
            for first, stop in stretch:
                members, _ = run(members, np.int32(first), np.int32(stop))
            jax.block_until_ready(members)
            times.append(time.perf_counter() - start)
        return min(times[1:])


class _Loop:
    """The training steps of all members; the host starts one member on each device at a time."""

    def __init__(self, compiled: Any, on_each: int):
        self._compiled, self._on_each = compiled, on_each
        self.memory_analysis = compiled.memory_analysis

    def __call__(self, members: TrainState, first: Any, stop: Any) -> tuple[TrainState, Metrics]:
        found = []
        for which in range(self._on_each):
            members, metrics = self._compiled(members, np.int32(which), first, stop)
            found.append(metrics)
        # [which, device] -> [device, which]: the order of the members
        return members, jax.tree.map(
            lambda *parts: jnp.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:]), *found
        )
