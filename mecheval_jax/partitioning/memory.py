"""How much memory there is: what a device has free, and what a machine has in all."""

import os
import pathlib
from typing import Any

import jax

CGROUP = pathlib.Path("/sys/fs/cgroup")
"""Where a container says how much of its machine's memory it may take, and takes."""

MEMINFO = pathlib.Path("/proc/meminfo")


def free_memory(device: Any) -> int:
    """Number of bytes that programs on one device may take."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if MEMINFO.exists():  # what the kernel would give back counts as free
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    if (limit := _of_container("memory.max")) is not None:
        free = min(free, max(0, limit - _taken()))
    return free // jax.local_device_count()


def total_memory() -> int:
    """Number of bytes that the devices of all processes have together, taken or not."""
    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in jax.local_devices()]
    if None not in limits:
        return sum(limits) * jax.process_count()
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _of_container("memory.max")
    return (total if limit is None else min(total, limit)) * jax.process_count()


def _taken() -> int:
    """Bytes that a container takes, without copies of files which the kernel would give back."""
    stat = CGROUP / "memory.stat"
    lines = dict(map(str.split, stat.read_text().splitlines())) if stat.exists() else {}
    return max(0, (_of_container("memory.current") or 0) - int(lines.get("inactive_file", 0)))


def _of_container(name: str) -> int | None:
    """Bytes in a file of the container's; None without one, and without a limit."""
    path = CGROUP / name
    text = path.read_text().strip() if path.exists() else ""
    return int(text) if text.isdecimal() else None
