"""Choice of the strategy that computes a group: what fits on a device, and what is fastest.

Only a measurement tells which strategy is the fastest. Batched products fill a large device that
one small model would leave idle. On a CPU the members compete for its caches, and computing them
one after the other may be faster: ``scan`` spares the host the work between members, but a program
inside a loop is optimized differently from one at the top, so ``loop`` is measured, too. Documents
that the host draws leave only the number of members at once to choose: all of them, or one, by
which a core computes twice as many steps of Mamba on treecall (67 and 35 ms a step of a member).
Strategies differ in rounding: the choice is kept with the group, and a resumed group repeats it.
"""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax

from mecheval_jax.errors import UserError
from mecheval_jax.files import add_to_cache, read_cache
from mecheval_jax.machine import is_out_of_memory
from mecheval_jax.partitioning.memory import free_memory
from mecheval_jax.partitioning.multihost import is_multiprocess, on_main
from mecheval_jax.tasks.base import Task
from mecheval_jax.training.ensemble.member_programs import MemberPrograms
from mecheval_jax.training.ensemble.strategy import Strategy

AUTO = "auto"
"""Name that asks for the strategy that is measured to be the fastest."""

MARGIN = 0.8
"""Share of a device's free memory that a program may take according to its estimate."""


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """How many members fit on a device, from the program that computes one at a time.

    Attributes:
        members: Number of members on the device.
        free: Number of free bytes.
        resident: Number of bytes of all members' states.
        working: Number of further bytes that one member needs while it is computed.
    """

    members: int
    free: int
    resident: int
    working: int

    @property
    def most(self) -> int:
        """Number of members whose states fit while one of them is computed."""
        each = max(self.resident // self.members, 1)
        return max(int(MARGIN * self.free - self.working) // each, 0)

    @property
    def at_once(self) -> int:
        """Number of the device's members that can be computed together."""
        fit = int(MARGIN * self.free - self.resident) // max(self.working, 1)
        return max(min(fit, self.members), 0)

    def check(self, at_once: int | None) -> None:
        """Check that all states fit while `at_once` members (one if None) are computed.

        Raises:
            UserError: If they do not; the message says how many fit.
        """
        gibibytes = f"{MARGIN * self.free / 2**30:.2f} GiB of a device"
        if self.most < self.members:
            raise UserError(
                f"{self.members} members on a device do not fit into {gibibytes}: {self.most} do; "
                "take more devices, or a smaller sweep"
            )
        wanted, fit = min(at_once or 1, self.members), max(self.at_once, 1)
        if wanted > fit:
            raise UserError(
                f"{wanted} members at once do not fit into {gibibytes}: {fit} do "
                f"(--members_at_once={fit})"
            )


def check_strategy(kind: str, task: Task) -> None:
    """Check that a strategy can compute the documents of a task.

    Raises:
        UserError: If it cannot.
    """
    if not task.traceable and kind not in (AUTO, "vmap"):
        raise UserError(
            f"strategy {kind!r} cannot compute documents that the host draws, as those of "
            f"{type(task).__name__}: vmap can, with --members_at_once=1 one member after the other"
        )


class Memory:
    """The memory of a device, and the part of it that an ensemble takes.

    Args:
        programs: Programs of the ensemble.
    """

    def __init__(self, programs: MemberPrograms):
        self._programs = programs
        leaves = jax.tree.leaves(programs.abstract)
        sizes = (math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
        self._states = sum(sizes) // programs.mesh.size
        # For a checkpoint several processes copy the states on the devices; one copies to the host.
        self._copied = self._states if is_multiprocess() else 0
        self._free = on_main(lambda: free_memory(programs.mesh.local_devices[0]))

    @property
    def _lengths_are_known(self) -> bool:
        return self._programs.ensemble.task.traceable

    def _taken(self, strategy: Strategy) -> tuple[int, int]:
        """Bytes that are taken between two calls of the steps, and further bytes during a call."""
        analysis = self._programs.steps_by(strategy).memory_analysis()
        if analysis is None:
            return 0, 0
        out = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
        return analysis.argument_size_in_bytes, out + analysis.temp_size_in_bytes

    def fits(self, strategy: Strategy) -> bool:
        """Whether the device has the memory for a strategy.

        The lengths of documents that the host draws are not known: then only the states count.
        """
        taken = sum(self._taken(strategy)) if self._lengths_are_known else self._states
        return taken + self._copied <= MARGIN * self._free

    def estimate(self) -> MemoryEstimate:
        """How many members fit, from the program that computes one member at a time.

        As in `fits`, only the states count where lengths are not known.
        """
        known = self._lengths_are_known
        resident, working = self._taken(Strategy("scan")) if known else (self._states, 1)
        resident += self._copied
        return MemoryEstimate(self._programs.on_each, self._free, resident, max(working, 1))

    def check(self, strategy: Strategy) -> None:
        """Check that the device has the memory for a strategy.

        The compiler's account of the program decides where there is one, otherwise the estimate.

        Raises:
            UserError: If it has not; the message says how many members fit.
        """
        if not self._lengths_are_known or not self.fits(strategy):
            self.estimate().check(strategy.at_once if strategy.kind == "vmap" else None)


class Choices:
    """Strategies that were chosen before on this machine, in a file, by shape and platform.

    Args:
        path: File of the choices.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path

    def get(self, key: str) -> dict[str, Any] | None:
        """The fields of the `Strategy` chosen under a key; None if there is none."""
        try:
            return dataclasses.asdict(Strategy(**read_cache(self._path)[key]))
        except (KeyError, TypeError, UserError):  # none, or written by another version
            return None

    def put(self, key: str, choice: dict[str, Any]) -> None:
        """Keep a choice; if the file cannot be written, strategies are measured anew next time."""
        add_to_cache(self._path, {key: choice})


def fastest(
    candidates: Sequence[Strategy], seconds_of: Callable[[Strategy], float]
) -> tuple[Strategy, dict[Strategy, float]]:
    """The candidate that takes the least time, and the time of each.

    A candidate that turns out to exceed the device's memory counts as infinitely slow.
    """
    times, error = {}, None
    for candidate in candidates:
        try:
            times[candidate] = seconds_of(candidate)
        except jax.errors.JaxRuntimeError as e:
            if not is_out_of_memory(e):
                raise
            times[candidate], error = math.inf, e
    chosen = min(times, key=times.__getitem__)
    if error is not None and math.isinf(times[chosen]):
        raise error
    return chosen, times


def choose_strategy(
    programs: MemberPrograms,
    choices: Choices,
    key: str,
    at_once: int | None,
    kind: str,
    say: Callable[[str], None],
) -> Strategy:
    """The strategy of an ensemble: the requested one, an earlier choice, or the fastest one.

    Args:
        programs: Programs of the ensemble.
        choices: Choices made before.
        key: Name of the shape, the number of members and the platform.
        at_once: Number of members that a device computes together; as many as fit if None.
        kind: One of `strategy.KINDS`; ``auto`` to measure.
        say: Function that is told which strategy was chosen, and why.

    Raises:
        UserError: If more members are requested than fit (the message says how many do), or if the
            strategy cannot compute them.
    """
    check_strategy(kind, programs.ensemble.task)
    # What was measured before counts, if it fits into the memory.
    memory = Memory(programs)
    measuring = kind == AUTO and at_once is None and programs.on_each > 1
    known = on_main(lambda: choices.get(key)) if measuring else None
    if known is not None and memory.fits(chosen := Strategy(**known)):
        say(f"members are computed by {chosen}, measured before on this platform")
        return chosen
    if at_once is not None:
        together = min(at_once, programs.on_each)
        # The compiler's account of the program: the estimate may be too careful.
        memory.check(Strategy("vmap", together))
    else:
        estimate = memory.estimate()
        estimate.check(None)
        together = max(1, estimate.at_once)
    if not measuring:
        chosen = Strategy(kind) if kind in ("scan", "loop") else Strategy("vmap", together)
        say(f"members are computed by {chosen}")
        return chosen
    # The quickest of those that fit is taken, and remembered.
    one_by_one = ("scan", "loop") if programs.ensemble.task.traceable else ("vmap",)
    candidates = [*dict.fromkeys([Strategy("vmap", together), *map(Strategy, one_by_one)])]
    chosen, times = fastest(candidates, programs.seconds_of)
    steps = len(programs.ensemble.runs) * programs.measured_steps
    listed = ", ".join(f"{name} {1e3 * t / steps:.2f} ms" for name, t in times.items())
    say(f"members are computed by {chosen} (a step of a member: {listed})")
    on_main(lambda: choices.put(key, dataclasses.asdict(chosen)))
    return chosen
