"""Which strategy a group is computed by: what fits on a device, and what is measured to be fast.

Nothing but a measurement tells which is the fastest. Batched products fill a large device that one
small model would leave idle. On a CPU the members compete for its caches, and one after the other
may be faster; then ``scan`` spares the host's work between members, but a program inside a loop is
optimized otherwise than at the top, so ``loop`` is measured, too. The choice is part of a group's
numbers, to rounding: it is kept with the group.
"""

import contextlib
import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax

from mecheval_jax.errors import UserError
from mecheval_jax.files import read_json, write_json
from mecheval_jax.partitioning.multihost import is_multiprocess, on_main
from mecheval_jax.training.ensemble.members import Strategy
from mecheval_jax.training.ensemble.programs import MemberPrograms

AUTO = "auto"
"""What is asked for where the fastest strategy shall be found."""

MARGIN = 0.8
"""Share of a device's free memory that a program may take by its estimate."""


def free_memory(device: Any) -> int:
    """Number of bytes that programs on one device may take."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = pathlib.Path("/proc/meminfo")
    if meminfo.exists():  # what the kernel would give back counts as free
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    return free // jax.local_device_count()


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """What fits on a device, from the program that computes one member at a time.

    Attributes:
        members: Number of members on the device.
        free: Number of bytes that are free.
        resident: Number of bytes of all members' states.
        working: Number of bytes beside them for one member at work.
    """

    members: int
    free: int
    resident: int
    working: int

    @property
    def most(self) -> int:
        """Number of members whose states fit, one of them at work."""
        each = max(self.resident // self.members, 1)
        return max(int(MARGIN * self.free - self.working) // each, 0)

    @property
    def at_once(self) -> int:
        """Number of the device's members that fit at work together."""
        fit = int(MARGIN * self.free - self.resident) // max(self.working, 1)
        return max(min(fit, self.members), 0)

    def check(self, at_once: int | None) -> None:
        """Check that the states fit, and `at_once` members at work.

        Raises:
            UserError: If they do not; it says how many do.
        """
        gibibytes = f"{MARGIN * self.free / 2**30:.2f} GiB of a device"
        if self.most < self.members:
            raise UserError(
                f"{self.members} members on a device do not fit into {gibibytes}: {self.most} do; "
                "take more devices, or a smaller sweep"
            )
        wanted = min(at_once or 1, self.members)
        if wanted > max(self.at_once, 1):
            raise UserError(
                f"{wanted} members at once do not fit into {gibibytes}: {max(self.at_once, 1)} do"
            )


class Memory:
    """The memory of a device, and what an ensemble takes of it.

    Args:
        programs: Programs of the ensemble.
    """

    def __init__(self, programs: MemberPrograms):
        self._programs = programs
        leaves = jax.tree.leaves(programs.abstract)
        sizes = (math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
        self._states = sum(sizes) // programs.mesh.size
        # For a checkpoint that all processes write; one on its own copies to the host.
        self._copied = self._states if is_multiprocess() else 0
        self._free = on_main(lambda: free_memory(programs.mesh.local_devices[0]))

    def _taken(self, strategy: Strategy) -> tuple[int, int]:
        """Bytes that are taken between two calls of the steps, and more of them during one."""
        analysis = self._programs.steps_by(strategy).memory_analysis()
        if analysis is None:
            return 0, 0
        out = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
        return analysis.argument_size_in_bytes, out + analysis.temp_size_in_bytes

    def fits(self, strategy: Strategy) -> bool:
        """Whether the device has the memory for a strategy."""
        return sum(self._taken(strategy)) + self._copied <= MARGIN * self._free

    def estimate(self) -> MemoryEstimate:
        """What fits, from the program that computes one member at a time.

        Of documents that the host draws, whose lengths are not known, the states alone count.
        """
        known = self._programs.ensemble.task.traceable
        resident, working = self._taken(Strategy("scan")) if known else (self._states, 1)
        resident += self._copied
        return MemoryEstimate(self._programs.on_each, self._free, resident, max(working, 1))

    def check(self, strategy: Strategy) -> None:
        """Check that the device can do it, by the program's own account, or the estimate's.

        Raises:
            UserError: If it cannot; it says how many members fit.
        """
        if not self._programs.ensemble.task.traceable or not self.fits(strategy):
            self.estimate().check(strategy.at_once if strategy.kind == "vmap" else None)


class Choices:
    """Choices made before, in a file for each user: by shape, platform and versions.

    Args:
        path: File of the choices.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path

    def _read(self) -> dict[str, Any]:
        try:
            return read_json(self._path)
        except (OSError, UserError):  # no file yet, or a damaged one: measure again
            return {}

    def get(self, key: str) -> dict[str, Any] | None:
        """The fields of the `Strategy` chosen under a key; None if there is none."""
        try:
            return dataclasses.asdict(Strategy(**self._read()[key]))
        except (KeyError, TypeError, UserError):  # none, or written by another version
            return None

    def put(self, key: str, choice: dict[str, Any]) -> None:
        """Keep a choice; a folder that cannot be written costs a measurement the next time."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, self._read() | {key: choice})


def fastest(
    candidates: Sequence[Strategy], seconds_of: Callable[[Strategy], float]
) -> tuple[Strategy, dict[Strategy, float]]:
    """The candidate that takes the least time, and the time of each.

    One that the device has no memory for after all, whatever its estimate, took for ever.
    """
    times, error = {}, None
    for candidate in candidates:
        try:
            times[candidate] = seconds_of(candidate)
        except jax.errors.JaxRuntimeError as e:
            if "RESOURCE_EXHAUSTED" not in str(e):
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
    """How members are computed: as asked for, as found before, or what is now found fastest.

    Args:
        programs: Programs of the ensemble.
        choices: Choices made before.
        key: Name of the shape, the number of members and the platform.
        at_once: Number of members that a device computes together; by its memory if None.
        kind: One of `members.KINDS`; ``auto`` to measure.
        say: Function that is told what was chosen and why.

    Raises:
        UserError: If more members are asked for than fit, with how many do; or if the strategy
            cannot compute them.
    """
    traceable = programs.ensemble.task.traceable
    if not traceable and kind not in (AUTO, "vmap"):
        raise UserError(
            f"strategy {kind!r} cannot compute documents that the host draws: vmap can, "
            "with --members_at_once=1 one member after the other"
        )
    memory = Memory(programs)
    measuring = kind == AUTO and at_once is None and traceable and programs.on_each > 1
    known = on_main(lambda: choices.get(key)) if measuring else None
    if known is not None and memory.fits(chosen := Strategy(**known)):
        say(f"members are computed by {chosen}, measured before on this platform")
        return chosen
    if at_once is not None:
        together = min(at_once, programs.on_each)
        # By its own account: the estimate may be too careful.
        memory.check(Strategy("vmap", together))
    else:
        estimate = memory.estimate()
        estimate.check(None)
        together = max(1, estimate.at_once)
    if not measuring:
        chosen = Strategy(kind) if kind in ("scan", "loop") else Strategy("vmap", together)
        say(f"members are computed by {chosen}")
        return chosen
    candidates = [Strategy("vmap", together), Strategy("scan"), Strategy("loop")]
    chosen, times = fastest(candidates, programs.seconds_of)
    steps = len(programs.ensemble.runs) * programs.measured_steps
    listed = ", ".join(f"{name} {1e3 * t / steps:.2f} ms" for name, t in times.items())
    say(f"members are computed by {chosen} (a step of a member: {listed})")
    on_main(lambda: choices.put(key, dataclasses.asdict(chosen)))
    return chosen
