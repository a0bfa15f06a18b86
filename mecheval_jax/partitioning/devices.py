"""What a device is called where its times and numbers are told."""

import pathlib
import platform
from typing import Any

CPUINFO = pathlib.Path("/proc/cpuinfo")
"""Where Linux says what its processors are called."""


def device_name(device: Any) -> str:
    """Name of a device of jax, as its maker gives it.

    jax calls every processor "cpu", which does not say on which of them a time was measured; here
    it has the name that the system knows, such as "AMD EPYC", or "cpu" where it knows none.
    """
    if device.platform != "cpu":
        return device.device_kind
    return _processor() or platform.processor() or device.device_kind


def _processor() -> str:
    """Name of the first processor in `CPUINFO`; empty where there is none."""
    if not CPUINFO.exists():
        return ""
    for line in CPUINFO.read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return " ".join(value.split())
    return ""
