"""How much memory there is: what a device has free, and what a machine has in all."""

import os
import pathlib
from typing import Any

import jax

CGROUP = pathlib.Path("/sys/fs/cgroup/memory.max")
"""Where a container says how much of its machine's memory it may take."""

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
    return free // jax.local_device_count()


def total_memory() -> int:
    """Number of bytes that the devices of all processes have together, taken or not."""
    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in jax.local_devices()]
    if None not in limits:
        return sum(limits) * jax.process_count()
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    allowed = CGROUP.read_text().strip() if CGROUP.exists() else ""
    return (min(total, int(allowed)) if allowed.isdecimal() else total) * jax.process_count()
