"""Many runs of one shape, trained as one program on all devices.

The members of a group stand along the mesh axis ``member``; a device computes its own, in the way
that `strategies` found the fastest, and devices exchange nothing. A group goes on until its last
member is done, resumes from one checkpoint, and gives each member the numbers that the same run
has when it is trained alone, to rounding.
"""

import collections
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mecheval_jax.array_types import PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.partitioning.distributed import on_main
from mecheval_jax.partitioning.members import (
    on_member_of_each_device,
    on_members,
    padded_count,
    place,
)
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.data import HostDocuments, evaluation_batch
from mecheval_jax.training.intervals import is_evaluation, is_stop, next_stop
from mecheval_jax.training.members import (
    NEVER,
    Member,
    evaluate_member,
    member_step,
    member_steps,
    new_member,
)
from mecheval_jax.training.optimizer import Hyperparameters
from mecheval_jax.training.state import hyperparameters_of
from mecheval_jax.training.step import no_metrics, note
from mecheval_jax.training.strategies import (
    AUTO,
    Choices,
    Estimate,
    Strategy,
    fastest,
    free_memory,
    needed_memory,
    resident_memory,
)

MEASURED_STEPS = 10
"""Steps of each member by which a strategy is timed."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ in `HYPERPARAMETERS` alone.

    Attributes:
        model: shape of every member.
        task: of every member.
        runs: how each is trained.
    """

    model: ModelConfig
    task: Task
    runs: tuple[TrainingConfig, ...]

    @property
    def training(self) -> TrainingConfig:
        """What all members share; its `HYPERPARAMETERS` are those of the longest run."""
        return max(self.runs, key=lambda run: run.steps)

    @property
    def hyperparameters(self) -> Hyperparameters:
        """Of all members [member], on the host."""
        return jax.tree.map(lambda *of: np.stack(of), *map(hyperparameters_of, self.runs))

    def next_stop(self, step: int) -> int:
        """The step at which the host next looks in: where any of the runs alone would stop."""
        return min(next_stop(step, run) for run in self.runs if run.steps > step)

    def batches(self, draw: Callable[[int], Batch]) -> list[Batch]:
        """A batch for each member, of one width; drawn once for each data seed."""
        seeds = [run.data_seed for run in self.runs]
        different = list(dict.fromkeys(seeds))
        drawn = dict(zip(different, of_one_width([draw(s) for s in different]), strict=True))
        return [drawn[seed] for seed in seeds]

    def is_evaluated_at(self, step: int) -> bool:
        """Whether dev documents are answered at a stop."""
        ends = {run.steps for run in self.runs}
        return step % self.training.evaluate_every == 0 or step in ends


@runtime_checkable
class SweepHooks(Protocol):
    """Receives what happens to a group, in order."""

    def record(self, values: Mapping[str, float | int | str]) -> None:
        """A row of metrics of one ``member``; it has ``step`` and ``split``, too."""
        ...

    def advance(self, standing: "Standing") -> None:
        """How the group is doing."""
        ...

    def say(self, message: str) -> None:
        """Something the user should read."""
        ...


@dataclasses.dataclass(frozen=True)
class Standing:
    """How a group is doing at a stop.

    Attributes:
        step: of those members that are furthest.
        steps: [member] steps that each has taken.
        diverged_at, stopped_at: [member], `NEVER` where it did not.
        training: how many still learn.
        taken: steps of all members since the stop before.
        seconds: since then.
    """

    step: int
    steps: np.ndarray
    diverged_at: np.ndarray
    stopped_at: np.ndarray
    training: int
    taken: int
    seconds: float


class Programs:
    """What a group runs on the devices, compiled for one mesh and one strategy.

    Args:
        group: the runs.
        mesh: of `partitioning.members.member_mesh`.
    """

    def __init__(self, group: Group, mesh: Mesh):
        self.group, self.mesh = group, mesh
        self.on_each = padded_count(len(group.runs), mesh) // mesh.size
        self._static = {"model": group.model, "task": group.task, "training": group.training}
        hyperparameters = place(group.hyperparameters, mesh)
        birth = on_members(functools.partial(new_member, group.model), mesh, self.on_each)
        self._birth = jax.jit(birth)
        self._hyperparameters = hyperparameters
        self._compiled: dict[Strategy, Any] = {}

    def create(self) -> Member:
        """All members before their first step, each on the device where it lives."""
        return self._birth(self._hyperparameters)

    @functools.cached_property
    def _abstract(self) -> Member:
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
            return jitted.lower(self._abstract, scalar, scalar).compile()
        program = on_member_of_each_device(one, self.mesh, shared=2)
        compiled = (
            jax.jit(program, donate_argnums=0)
            .lower(self._abstract, scalar, scalar, scalar)
            .compile()
        )
        return _Loop(compiled, self.on_each, self.mesh.size)

    def evaluate(self, strategy: Strategy):
        """(members, dev documents) -> (members, scores); the members are donated."""

        def one(pair):
            return evaluate_member(*pair, **self._static)

        program = on_members(one, self.mesh, strategy.at_once)
        return jax.jit(lambda members, documents: program((members, documents)), donate_argnums=0)

    def estimate(self) -> Estimate:
        """What fits on a device, from the program that computes one member at a time."""
        compiled = self.steps(Strategy("scan"))
        resident = resident_memory(compiled)
        working = max(needed_memory(compiled) - resident, 1)
        free = on_main(lambda: free_memory(self.mesh.local_devices[0]))
        return Estimate(self.on_each, free, resident, working)

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


class _Loop:
    """The steps of one member of each device after the other, started by the host."""

    def __init__(self, compiled, on_each: int, devices: int):
        self._compiled, self._on_each, self._devices = compiled, on_each, devices

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
    estimate = programs.estimate() if traceable else None
    if estimate is not None:
        estimate.check(at_once)
    together = at_once or (estimate.at_once if estimate else programs.on_each)
    together = max(1, min(together, programs.on_each))
    if kind != AUTO:
        chosen = Strategy(kind, together if kind == "vmap" else 1)
        say(f"members are computed by {chosen}, as asked for")
        return chosen
    if at_once is not None or programs.on_each == 1 or not traceable:
        chosen = Strategy("vmap", together)
        say(f"members are computed by {chosen}")
        return chosen
    known = on_main(lambda: choices.get(key))
    known = Strategy(**known) if known else None
    if known is not None and known.at_once <= together:
        say(f"members are computed by {known}, measured before on this platform")
        return known
    candidates = [Strategy("vmap", together), Strategy("scan"), Strategy("loop")]
    chosen, times = fastest(candidates, programs.seconds_of)
    steps = len(programs.group.runs) * programs.measured_steps
    listed = ", ".join(f"{name} {1e3 * t / steps:.2f} ms" for name, t in times.items())
    say(f"members are computed by {chosen} (a step of a member: {listed})")
    on_main(lambda: choices.put(key, dataclasses.asdict(chosen)))
    return chosen


def development_documents(group: Group) -> Batch:
    """The dev documents of every member [member, document, ...]."""
    documents = group.training.evaluation_documents
    return stack(group.batches(lambda seed: evaluation_batch(group.task, seed, documents, "dev")))


def of_one_width(batches: Sequence[Batch]) -> list[Batch]:
    """The batches with their documents padded to the longest of all."""
    width = max(batch.tokens.shape[1] for batch in batches)

    def padded(batch):
        spare = width - batch.tokens.shape[1]
        return batch.replace(tokens=jnp.pad(batch.tokens, ((0, 0), (0, spare))))

    return [padded(batch) for batch in batches]


def stack(trees: Sequence[PyTree]) -> PyTree:
    """Trees along a new leading axis."""
    return jax.tree.map(lambda *of: jnp.stack(of), *trees)


class _HostSteps:
    """The steps on documents that the host draws: a dispatch each, for all members."""

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


def saved_part(members: Member) -> dict[str, Any]:
    """What a checkpoint of a group holds; all else follows from the config."""
    state = members.state
    return {
        "step": state.step,
        "params": state.params,
        "moments": state.moments,
        "diverged_at": members.diverged_at,
        "stopped_at": members.stopped_at,
    }


def restored(members: Member, saved: Mapping[str, Any]) -> Member:
    """Members with what a checkpoint held."""
    state = members.state.replace(**{name: saved[name] for name in ("step", "params", "moments")})
    return Member(state, saved["diverged_at"], saved["stopped_at"])


@jax.jit
def _standing(members: Member):
    """Copies of what the host wants to know; the members' own buffers are donated."""
    state = members.state
    flags = (state.step, members.diverged_at, members.stopped_at, members.training)
    return jax.tree.map(jnp.copy, flags)


def fit_group(
    programs: Programs,
    strategy: Strategy,
    members: Member,
    fetch: Callable[[PyTree], PyTree],
    save: Callable[[int, Member], None],
    leave_at: Callable[[int], bool],
    hooks: SweepHooks,
) -> Member:
    """Train until no member learns any more, or until it is time to leave.

    Metrics of a stretch are fetched after the next one is dispatched, so that the devices do not
    wait for the host.

    Args:
        programs: of the group.
        strategy: how members are computed.
        members: new or restored.
        fetch: global arrays -> arrays of the host, on every process.
        save: (step, members); called at every interval, at the end and before leaving.
        leave_at: step -> whether training shall end there, to be gone on with later.
        hooks: who is told.
    """
    group = programs.group
    every = group.training.checkpoint_every
    run = programs.steps(strategy) if group.task.traceable else _HostSteps(programs, strategy)
    evaluate = programs.evaluate(strategy)
    documents = place(development_documents(group), programs.mesh)
    ledger = _Ledger(group, fetch(_standing(members)), fetch, hooks)
    ledger.tell(ledger.step, 0, 0.0)
    step, saved = ledger.step, ledger.step
    pending = None
    while ledger.learning:
        stop = group.next_stop(step)
        members, metrics = run(members, np.int32(step), np.int32(stop))
        scores = None
        if group.is_evaluated_at(stop):
            members, scores = evaluate(members, documents)
        under_way = (stop, _standing(members), metrics, scores)
        if pending is not None:
            ledger.settle(*pending)
        pending, step = under_way, stop
        # Not where a shorter run ends: rows of the others would be cut there.
        leave = is_stop(step, group.training) and leave_at(step)
        if leave or step % every == 0 or step >= group.training.steps:
            ledger.settle(*pending)
            pending = None
            save(step, members)
            saved = step
        if leave:
            return members
    if pending is not None:  # nothing was left to do in it
        ledger.settle(*pending)
    if saved != step:
        save(step, members)
    return members


class _Ledger:
    """What is known of a group on the host, stretch by stretch."""

    def __init__(self, group: Group, standing, fetch, hooks: SweepHooks):
        self._group, self._fetch, self._hooks = group, fetch, hooks
        self._count = len(group.runs)
        # Stretches end where any member stops; each has its rows where it would stop alone.
        self._since = [collections.defaultdict(list) for _ in group.runs]
        self._note(standing)
        self.step = int(self._steps.max())
        self._clock = time.monotonic()

    def _note(self, standing) -> None:
        own = (values[: self._count] for values in standing)
        self._steps, self._diverged_at, self._stopped_at, self._learning = own

    @property
    def learning(self) -> bool:
        """Whether any member still learns."""
        return bool(self._learning.any())

    def tell(self, step: int, taken: int, seconds: float) -> None:
        """Say how the group is doing at a stop."""
        training = int(self._learning.sum())
        ends = (self._diverged_at, self._stopped_at)
        self._hooks.advance(Standing(step, self._steps, *ends, training, taken, seconds))

    def settle(self, stop: int, standing: PyTree, metrics: PyTree, scores: PyTree | None) -> None:
        """Record a stretch, once the devices are through with it."""
        standing, metrics, scores = self._fetch((standing, metrics, scores))
        before = self._steps
        self._note(standing)
        taken = self._steps - before
        for i in np.flatnonzero(taken):
            for name, of in metrics.items():
                self._since[i][name].append(of[i, : taken[i]])
            if self._learning[i] and not is_stop(stop, self._group.runs[i]):
                continue
            row = {name: np.concatenate(of).mean() for name, of in self._since[i].items()}
            self._since[i].clear()
            self._record(i, "train", row)
            fine = self._diverged_at[i] == NEVER
            if scores and fine and is_evaluation(stop, self._group.runs[i]):
                self._record(i, "dev", {name: of[i] for name, of in scores.items()})
        now = time.monotonic()
        seconds, self._clock = now - self._clock, now
        self.tell(stop, int(taken.sum()), seconds)

    def _record(self, member, split: str, row: Mapping[str, np.floating]) -> None:
        place = {"step": int(self._steps[member]), "split": split, "member": int(member)}
        self._hooks.record({**place, **{name: float(value) for name, value in row.items()}})
