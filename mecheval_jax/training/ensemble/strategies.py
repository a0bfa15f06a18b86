"""How a device computes several members: measured, as nothing else tells which is the fastest.

vmap    some or all of a device's members as one batched program
scan    one member after the other in one program, each through all steps of a stretch
loop    the host starts one member's stretch after the other

Batched products fill a large device that one small model would leave idle. On a CPU the members
compete for its caches, and one after the other may be faster; then `scan` spares the host's work
between members, but a program inside a loop is optimized otherwise than at the top, so `loop` is
measured, too. The choice is part of a group's numbers, to rounding: it is kept with the group.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax

from mecheval_jax.errors import UserError, choose
from mecheval_jax.files import read_json, write_json

KINDS = ("vmap", "scan", "loop")
AUTO = "auto"
MARGIN = 0.8
"""Share of a device's free memory that a program may take by its estimate."""


@dataclasses.dataclass(frozen=True)
class Strategy:
    """How members are computed.

    Attributes:
        kind: of `KINDS`.
        at_once: members that a device computes together.
    """

    kind: str
    at_once: int = 1

    def __post_init__(self):
        choose("strategy", self.kind, KINDS)
        if not isinstance(self.at_once, int) or self.at_once < 1:
            raise UserError(f"members at once are {self.at_once!r}: at least 1")

    def __str__(self):
        return f"vmap of {self.at_once}" if self.kind == "vmap" else self.kind


def free_memory(device) -> int:
    """Bytes that programs on one device may take."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = pathlib.Path("/proc/meminfo")
    if meminfo.exists():  # what the kernel would give back counts as free
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    return free // jax.local_device_count()


def needed_memory(compiled) -> int:
    """Bytes that a compiled program takes on each device, by the compiler's account."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0
    return (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes
        + analysis.temp_size_in_bytes
    )


def resident_memory(compiled) -> int:
    """The part of `needed_memory` that is there between two calls."""
    analysis = compiled.memory_analysis()
    return analysis.argument_size_in_bytes if analysis is not None else 0


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """What fits on a device, from the program that computes one member at a time.

    Attributes:
        members: on the device.
        free: bytes.
        resident: bytes of all members' states.
        working: bytes beside them for one member at work.
    """

    members: int
    free: int
    resident: int
    working: int

    @property
    def most(self) -> int:
        """Members whose states fit, one of them at work."""
        each = max(self.resident // self.members, 1)
        return max(int(MARGIN * self.free - self.working) // each, 0)

    @property
    def at_once(self) -> int:
        """Of the device's members, how many fit at work together."""
        fit = int(MARGIN * self.free - self.resident) // max(self.working, 1)
        return max(min(fit, self.members), 0)

    def check(self, at_once: int | None) -> None:
        """Raise UserError unless the states, and `at_once` members at work, or all, fit."""
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


class Choices:
    """Choices made before, in a file for each user: by shape, platform and versions."""

    def __init__(self, path: pathlib.Path | None):
        self._path = path

    def _read(self) -> dict[str, dict]:
        try:
            return read_json(self._path) if self._path else {}
        except (OSError, UserError):  # no file yet, or a damaged one: measure again
            return {}

    def get(self, key: str) -> dict[str, Any] | None:
        """The fields of the `Strategy` chosen under a key; None if there is none."""
        known = self._read().get(key)
        try:
            return dataclasses.asdict(Strategy(**known)) if known else None
        except (TypeError, UserError):  # written by another version
            return None

    def put(self, key: str, choice: dict[str, Any]) -> None:
        """Keep a choice; a folder that cannot be written costs a measurement the next time."""
        if self._path is None:
            return
        values = self._read() | {key: choice}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, values)
        except OSError:
            pass


def fastest(
    candidates: Sequence[Strategy], seconds_of: Callable[[Strategy], float]
) -> tuple[Strategy, dict[Strategy, float]]:
    """The candidate that takes the least time, and what each took.

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
