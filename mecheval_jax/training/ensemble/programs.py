"""What many runs do on the devices, and in which way.

Members stand along the mesh axis ``member``; a device computes its own, in the way that was asked
for or is measured to be the fastest (`strategies`), and devices exchange nothing.
"""

import dataclasses
import functools
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mecheval_jax.array_types import PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.partitioning.multihost import fetch, is_multiprocess, on_main
from mecheval_jax.tasks.base import Batch
from mecheval_jax.training.data import HostDocuments
from mecheval_jax.training.divergence import Policy
from mecheval_jax.training.ensemble.members import Ensemble, stack
from mecheval_jax.training.ensemble.mesh import (
    on_member_of_each_device,
    on_members,
    padded_count,
    shard_members,
)
from mecheval_jax.training.ensemble.strategies import (
    AUTO,
    MARGIN,
    Choices,
    MemoryEstimate,
    Strategy,
    fastest,
    free_memory,
    needed_memory,
    resident_memory,
)
from mecheval_jax.training.programs import Evaluate, HostSteps, Steps
from mecheval_jax.training.state import (
    TrainState,
    document_key,
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

MEASURED_STEPS = 10
"""Steps of each member by which a strategy is timed."""


class MemberPrograms:
    """An ensemble whose members are spread over devices; every array has them as leading axis.

    Args:
        ensemble: The runs.
        mesh: Mesh of `training.ensemble.mesh.member_mesh`.
        strategy: How members are computed. It may be chosen later, as that takes compiled steps.
    """

    def __init__(self, ensemble: Ensemble, mesh: Mesh, strategy: Strategy | None = None):
        self.ensemble, self.mesh = ensemble, mesh
        self.on_each = padded_count(len(ensemble.runs), mesh) // mesh.size
        self.strategy = strategy or Strategy("vmap", self.on_each)
        birth = on_members(functools.partial(new_state, ensemble.model), mesh, self.on_each)
        self._birth = jax.jit(birth)
        # Those that fill the last devices up have nothing to learn, whatever a checkpoint gives
        # them, and keep no device busy.
        steps = np.zeros(self.on_each * mesh.size, np.int32)
        steps[: len(ensemble.runs)] = ensemble.hyperparameters.steps
        hyperparameters = shard_members(ensemble.hyperparameters, mesh)
        self._hyperparameters = hyperparameters.replace(steps=shard_members(steps, mesh))
        self._compiled: dict[tuple[Policy, Strategy], Any] = {}

    def create(self) -> TrainState:
        """All members before their first step, each on the device where it lives."""
        return self._birth(self._hyperparameters)

    @functools.cached_property
    def abstract(self) -> TrainState:
        """Shapes, types and shardings of what `create` gives."""
        shapes = jax.eval_shape(self._birth, self._hyperparameters)
        sharding = self._hyperparameters.steps.sharding
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes
        )

    @property
    def saved_form(self) -> dict[str, PyTree]:
        """Shapes, types and shardings of what a checkpoint holds."""
        return saved_part(self.abstract)

    def saved(self, state: TrainState) -> dict[str, PyTree]:
        """What a checkpoint holds of a state.

        Each process writes the members of its own devices. One on its own writes from the host,
        where the copy costs the devices no memory.
        """
        saved = saved_part(state)
        return saved if is_multiprocess() else fetch(saved)

    def restored(self, saved: dict[str, PyTree]) -> TrainState:
        """The state of which a checkpoint held so much."""
        keys = jax.jit(on_members(document_key, self.mesh, self.on_each))
        return restored_state(saved, self._hyperparameters, keys(self._hyperparameters))

    def steps(self, policy: Policy) -> Steps:
        """The compiled steps."""
        return self.steps_by(self.strategy, policy)

    def steps_by(self, strategy: Strategy, policy: Policy = Policy.FREEZE) -> Any:
        """The compiled steps by a strategy, kept for when they are asked for again."""
        if (policy, strategy) not in self._compiled:
            traceable = self.ensemble.task.traceable
            compiled = self._compile if traceable else self._host_steps
            self._compiled[policy, strategy] = compiled(strategy, policy)
        return self._compiled[policy, strategy]

    def _compile(self, strategy: Strategy, policy: Policy) -> Any:
        one = functools.partial(take_steps, ensemble=self.ensemble, policy=policy)
        number = jax.ShapeDtypeStruct((), jnp.int32)
        if strategy.kind != "loop":
            program = on_members(one, self.mesh, strategy.at_once, shared=2)
            jitted = jax.jit(program, donate_argnums=0)
            return jitted.lower(self.abstract, number, number).compile()
        program = on_member_of_each_device(one, self.mesh, shared=2)
        jitted = jax.jit(program, donate_argnums=0)
        return _Loop(jitted.lower(self.abstract, number, number, number).compile(), self.on_each)

    def _host_steps(self, strategy: Strategy, policy: Policy) -> HostSteps:
        """Steps on documents that the host draws, of all members in one dispatch."""
        ensemble, training = self.ensemble, self.ensemble.training

        def one(trees, first):
            *carry, batch = trees
            return take_step(tuple(carry), batch, first, ensemble, policy)

        program = on_members(one, self.mesh, strategy.at_once, shared=1)
        step = jax.jit(
            lambda state, metrics, batch, first: program((state, metrics, batch), first),
            donate_argnums=(0, 1),
        )
        shared = training.batch_size, training.training_batches
        documents = {
            run.data_seed: HostDocuments(ensemble.task, jax.random.key(run.data_seed), *shared)
            for run in ensemble.runs
        }

        def draw(at: int) -> Batch:
            batches = ensemble.batches(lambda seed: documents[seed].batch(at))
            return shard_members(stack(batches), self.mesh)

        def no_metrics_yet() -> Metrics:
            whole = jax.device_get(no_metrics(training))
            of_all = {name: np.stack([of] * len(ensemble.runs)) for name, of in whole.items()}
            return shard_members(of_all, self.mesh)

        return HostSteps(step, draw, no_metrics_yet)

    def evaluate(self) -> Evaluate:
        """The evaluation on dev documents, compiled when it is first called."""
        documents = shard_members(stack(self.ensemble.development_documents()), self.mesh)

        def evaluated(state):
            changed, scores = self.evaluation((state, documents))
            return state.replace(**changed), scores

        return evaluated

    @functools.cached_property
    def evaluation(self) -> Any:
        """(state, dev documents) -> (fields of the state that they change, scores)."""

        def one(pair):
            return evaluate_state(*pair, self.ensemble)

        return jax.jit(on_members(one, self.mesh, self.strategy.at_once))

    def estimate(self) -> MemoryEstimate:
        """What fits on a device, from the program that computes one member at a time.

        Of documents that the host draws, whose lengths are not known, the states alone count.
        """
        if self.ensemble.task.traceable:
            compiled = self.steps_by(Strategy("scan"))
            resident = resident_memory(compiled)
            working = max(needed_memory(compiled) - resident, 1)
        else:
            resident, working = self._states, 1
        return MemoryEstimate(self.on_each, self._free(), resident + self._copied, working)

    def fits(self, strategy: Strategy) -> bool:
        """Whether a device has the memory for a strategy."""
        return needed_memory(self.steps_by(strategy)) + self._copied <= MARGIN * self._free()

    def check(self, strategy: Strategy) -> None:
        """Raise UserError, which says how many members fit, unless a device can do it."""
        if not self.ensemble.task.traceable or not self.fits(strategy):
            self.estimate().check(strategy.at_once if strategy.kind == "vmap" else None)

    @functools.cached_property
    def _states(self) -> int:
        """Bytes of the states on each device."""
        return sum(map(_bytes, jax.tree.leaves(self.abstract))) // self.mesh.size

    @property
    def _copied(self) -> int:
        """Bytes on each device of what is copied there for a checkpoint that all processes write.

        One process on its own copies to the host.
        """
        return self._states if is_multiprocess() else 0

    def _free(self) -> int:
        return on_main(lambda: free_memory(self.mesh.local_devices[0]))

    @property
    def measured_steps(self) -> int:
        """Steps of each member that `seconds_of` takes the time of: one dispatch at most."""
        return min(MEASURED_STEPS, self.ensemble.training.steps_per_dispatch)

    def seconds_of(self, strategy: Strategy) -> float:
        """Time of `measured_steps` steps of every member; the lower of two measurements."""
        endless = self._hyperparameters.replace(steps=self._hyperparameters.steps * 0 + 2**30)
        run, members = self.steps_by(strategy), self._birth(endless)
        times, step, count = [], 0, self.measured_steps
        for _ in range(3):  # the first also pays for what is done once
            start = time.perf_counter()
            members, metrics = run(members, np.int32(step), np.int32(step + count))
            jax.block_until_ready(metrics)
            times.append(time.perf_counter() - start)
            step += count
        return min(times[1:])


def _bytes(leaf: jax.ShapeDtypeStruct) -> int:
    return math.prod(leaf.shape) * leaf.dtype.itemsize


class _Loop:
    """The steps of one member of each device after the other, started by the host."""

    def __init__(self, compiled, on_each: int):
        self._compiled, self._on_each = compiled, on_each

    def memory_analysis(self):
        return self._compiled.memory_analysis()

    def __call__(self, members, first, stop):
        found = []
        for which in range(self._on_each):
            members, metrics = self._compiled(members, np.int32(which), first, stop)
            found.append(metrics)
        # [which, device] -> [device, which]: the order of the members
        return members, jax.tree.map(
            lambda *parts: jnp.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:]), *found
        )


def choose_strategy(
    programs: MemberPrograms, choices: Choices, key: str, at_once: int | None, kind: str, say
) -> Strategy:
    """How members are computed: as asked for, as found before, or what is now found fastest.

    Args:
        programs: Programs of the ensemble.
        choices: made before.
        key: of the shape, the number of members and the platform.
        at_once: members a device computes together; by the memory estimate if None.
        kind: of `strategies.KINDS`; ``auto`` to measure.
        say: told what was chosen and why.

    Raises:
        UserError: more members than fit, and how many do; or a strategy that cannot compute them.
    """
    traceable = programs.ensemble.task.traceable
    if not traceable and kind not in (AUTO, "vmap"):
        raise UserError(
            f"strategy {kind!r} cannot compute documents that the host draws: vmap can, "
            "with --members_at_once=1 one member after the other"
        )
    measuring = kind == AUTO and at_once is None and traceable and programs.on_each > 1
    known = on_main(lambda: choices.get(key)) if measuring else None
    if known is not None and programs.fits(Strategy(**known)):
        say(f"members are computed by {Strategy(**known)}, measured before on this platform")
        return Strategy(**known)
    if at_once is not None:
        together = min(at_once, programs.on_each)
        # By its own account: the estimate may be too careful.
        programs.check(Strategy("vmap", together))
    else:
        estimate = programs.estimate()
        estimate.check(None)
        together = max(1, estimate.at_once)
    if not measuring:
        kind = "vmap" if kind == AUTO else kind
        chosen = Strategy(kind, together if kind == "vmap" else 1)
        say(f"members are computed by {chosen}")
        return chosen
    candidates = [Strategy("vmap", together), Strategy("scan"), Strategy("loop")]
    chosen, times = fastest(candidates, programs.seconds_of)
    steps = len(programs.ensemble.runs) * programs.measured_steps
    listed = ", ".join(f"{name} {1e3 * t / steps:.2f} ms" for name, t in times.items())
    say(f"members are computed by {chosen} (a step of a member: {listed})")
    on_main(lambda: choices.put(key, dataclasses.asdict(chosen)))
    return chosen
