"""What a group of runs does on the devices, compiled for one mesh, and in which way.

The members of a group stand along the mesh axis ``member``; a device computes its own, in the way
that was asked for or is measured to be the fastest (`strategies`), and devices exchange nothing.
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

from mecheval_jax.errors import UserError
from mecheval_jax.partitioning.multihost import is_multiprocess, on_main
from mecheval_jax.training.data import HostDocuments
from mecheval_jax.training.ensemble.group import Group, stack
from mecheval_jax.training.ensemble.members import (
    Member,
    evaluate_member,
    member_step,
    member_steps,
    new_member,
)
from mecheval_jax.training.ensemble.mesh import (
    on_member_of_each_device,
    on_members,
    padded_count,
    place,
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
from mecheval_jax.training.step import no_metrics, note

MEASURED_STEPS = 10
"""Steps of each member by which a strategy is timed."""


class Programs:
    """What a group runs on the devices, compiled for one mesh and one strategy.

    Args:
        group: the runs.
        mesh: of `training.ensemble.mesh.member_mesh`.
    """

    def __init__(self, group: Group, mesh: Mesh):
        self.group, self.mesh = group, mesh
        self.on_each = padded_count(len(group.runs), mesh) // mesh.size
        self._static = {"model": group.model, "task": group.task, "training": group.training}
        birth = on_members(functools.partial(new_member, group.model), mesh, self.on_each)
        self._birth = jax.jit(birth)
        # Those that fill the last devices up have nothing to learn, whatever a checkpoint gives
        # them, and keep no device busy.
        steps = np.zeros(self.on_each * mesh.size, np.int32)
        steps[: len(group.runs)] = group.hyperparameters.steps
        hyperparameters = place(group.hyperparameters, mesh)
        self._hyperparameters = hyperparameters.replace(steps=place(steps, mesh))
        self._compiled: dict[Strategy, Any] = {}

    def create(self) -> Member:
        """All members before their first step, each on the device where it lives."""
        return self._birth(self._hyperparameters)

    @functools.cached_property
    def abstract(self) -> Member:
        """Shapes, types and shardings of what `create` gives."""
        shapes = jax.eval_shape(self._birth, self._hyperparameters)
        sharding = self._hyperparameters.steps.sharding
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes
        )

    def steps(self, strategy: Strategy):
        """The compiled steps of a traceable task: (members, first, stop) -> (members, metrics)."""
        if strategy not in self._compiled:
            self._compiled[strategy] = self._compile_steps(strategy)
        return self._compiled[strategy]

    def _compile_steps(self, strategy: Strategy):
        one = functools.partial(member_steps, **self._static)
        scalar = jax.ShapeDtypeStruct((), jnp.int32)
        if strategy.kind != "loop":
            program = on_members(one, self.mesh, strategy.at_once, shared=2)
            jitted = jax.jit(program, donate_argnums=0)
            return jitted.lower(self.abstract, scalar, scalar).compile()
        program = on_member_of_each_device(one, self.mesh, shared=2)
        compiled = (
            jax.jit(program, donate_argnums=0)
            .lower(self.abstract, scalar, scalar, scalar)
            .compile()
        )
        return _Loop(compiled, self.on_each)

    def evaluate(self, strategy: Strategy):
        """(members, dev documents) -> (members, scores); the members are donated."""

        def one(pair):
            return evaluate_member(*pair, **self._static)

        program = on_members(one, self.mesh, strategy.at_once)
        return jax.jit(lambda members, documents: program((members, documents)), donate_argnums=0)

    def estimate(self) -> MemoryEstimate:
        """What fits on a device, from the program that computes one member at a time.

        Of documents that the host draws, whose lengths are not known, the states alone count.
        """
        if self.group.task.traceable:
            compiled = self.steps(Strategy("scan"))
            resident = resident_memory(compiled)
            working = max(needed_memory(compiled) - resident, 1)
        else:
            resident, working = self._states, 1
        return MemoryEstimate(self.on_each, self._free(), resident + self._copied, working)

    def fits(self, strategy: Strategy) -> bool:
        """Whether a device has the memory for a strategy."""
        return needed_memory(self.steps(strategy)) + self._copied <= MARGIN * self._free()

    def check(self, strategy: Strategy) -> None:
        """Raise UserError, which says how many members fit, unless a device can do it."""
        if not self.group.task.traceable or not self.fits(strategy):
            self.estimate().check(strategy.at_once if strategy.kind == "vmap" else None)

    @functools.cached_property
    def _states(self) -> int:
        """Bytes of the states on each device."""
        return sum(map(_bytes, jax.tree.leaves(self.abstract.state))) // self.mesh.size

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
        return min(MEASURED_STEPS, self.group.training.steps_per_dispatch)

    def seconds_of(self, strategy: Strategy) -> float:
        """Time of `measured_steps` steps of every member; the lower of two measurements."""
        endless = self._hyperparameters.replace(steps=self._hyperparameters.steps * 0 + 2**30)
        run, members = self.steps(strategy), self._birth(endless)
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


class HostSteps:
    """The steps on documents that the host draws: a dispatch each, for all members.

    Args:
        programs: of the group.
        strategy: of kind ``vmap``.
    """

    def __init__(self, programs: Programs, strategy: Strategy):
        group = programs.group
        training = group.training
        self._mesh, self._group = programs.mesh, group
        self._documents = {
            run.data_seed: HostDocuments(
                group.task,
                jax.random.key(run.data_seed),
                training.batch_size,
                training.training_batches,
            )
            for run in group.runs
        }
        static = {"model": group.model, "task": group.task, "training": training}

        def one(carry, first):
            member, history, batch = carry
            after, metrics = member_step(member, batch, **static)
            noted = note(history, member.state.step - first, metrics)
            keep = functools.partial(jnp.where, member.training)
            return jax.tree.map(keep, (after, noted), (member, history))

        program = on_members(one, programs.mesh, strategy.at_once, shared=1)
        self._step = jax.jit(
            lambda members, history, batch, first: program((members, history, batch), first),
            donate_argnums=(0, 1),
        )

    def __call__(self, members, first, stop):
        """The steps from `first` to before `stop`: (members, metrics)."""
        count = len(self._group.runs)
        empty = jax.tree.map(
            lambda leaf: np.broadcast_to(leaf, (count, *leaf.shape)),
            jax.device_get(no_metrics(self._group.training)),
        )
        history = place(empty, self._mesh)
        for step in range(int(first), int(stop)):
            batch = stack(
                self._group.batches(lambda seed, step=step: self._documents[seed].batch(step))
            )
            members, history = self._step(members, history, place(batch, self._mesh), first)
        return members, history


def choose_strategy(
    programs: Programs, choices: Choices, key: str, at_once: int | None, kind: str, say
) -> Strategy:
    """How a group is computed: as asked for, as found before, or what is now found fastest.

    Args:
        programs: of the group.
        choices: made before.
        key: of the shape, the number of members and the platform.
        at_once: members a device computes together; by the memory estimate if None.
        kind: of `strategies.KINDS`; ``auto`` to measure.
        say: told what was chosen and why.

    Raises:
        UserError: more members than fit, and how many do; or a strategy that cannot compute them.
    """
    traceable = programs.group.task.traceable
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
    steps = len(programs.group.runs) * programs.measured_steps
    listed = ", ".join(f"{name} {1e3 * t / steps:.2f} ms" for name, t in times.items())
    say(f"members are computed by {chosen} (a step of a member: {listed})")
    on_main(lambda: choices.put(key, dataclasses.asdict(chosen)))
    return chosen
