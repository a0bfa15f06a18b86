"""Energy that a device reports, if it does.

Linux counts the energy of a CPU's package in ``/sys/class/powercap`` (RAPL; on most machines only
root may read it); NVIDIA's driver counts that of a card, read by the package ``nvidia-ml-py``. Both
count everything that the device does, other work at the same time included.
"""

import importlib.util
import os
import pathlib
from collections.abc import Callable

import jax

RAPL = pathlib.Path("/sys/class/powercap")


def counter(folder: pathlib.Path = RAPL) -> Callable[[], float] | None:
    """A function that reads the energy used so far in joules; None if no device reports it.

    Args:
        folder: Folder of Linux's counters for CPUs.
    """
    if jax.default_backend() == "gpu":
        return _of_cards()
    if jax.default_backend() == "cpu":
        return _of_packages(folder)
    return None


def _of_packages(folder: pathlib.Path) -> Callable[[], float] | None:
    domains = sorted(folder.glob("intel-rapl:[0-9]*"))
    try:
        # That of the whole machine (psys) holds those of its packages, and these their parts.
        named = (domain for domain in domains if domain.name.count(":") == 1)
        files = [
            domain / "energy_uj"
            for domain in named
            if (domain / "name").read_text().startswith("package")
        ]
        if not files or any(not path.read_text().strip().isdigit() for path in files):
            return None
    except OSError:
        return None
    return lambda: sum(int(path.read_text()) for path in files) / 1e6


def _of_cards() -> Callable[[], float] | None:
    if importlib.util.find_spec("pynvml") is None:
        return None
    import pynvml  # pyright: ignore[reportMissingImports]

    try:
        pynvml.nvmlInit()
        cards = [
            pynvml.nvmlDeviceGetHandleByIndex(int(name))
            if name.isdigit()
            else pynvml.nvmlDeviceGetHandleByUUID(name)
            for name in (_name_of_card(device.local_hardware_id) for device in jax.devices())
        ]
        for card in cards:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(card)
    except pynvml.NVMLError:
        return None
    return lambda: sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(card) for card in cards) / 1e3


def _name_of_card(number: int) -> str:
    """Index or UUID of JAX's card of a number for the driver, which counts hidden ones, too."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",")[number].strip() if visible else str(number)
