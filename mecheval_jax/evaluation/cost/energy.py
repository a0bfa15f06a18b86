"""Energy that a device reports, if it does.

Linux counts the energy of a CPU's package in ``/sys/class/powercap`` (RAPL; on most machines only
root may read it); NVIDIA's driver counts that of a card, read by the package ``nvidia-ml-py``. Both
count everything that the device does, other work at the same time included. Of several cards only
the first of JAX's counts: there the programs run whose cost is measured, and the others stand idle.
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
        return _of_card(jax.devices()[0].local_hardware_id)
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


def _of_card(number: int) -> Callable[[], float] | None:
    """The counter of JAX's card of a number; None if it does not report its energy."""
    if importlib.util.find_spec("pynvml") is None:
        return None
    import pynvml  # pyright: ignore[reportMissingImports]

    try:
        pynvml.nvmlInit()
        name = _name_of_card(number)
        if name.isdigit():
            card = pynvml.nvmlDeviceGetHandleByIndex(int(name))
        else:
            card = pynvml.nvmlDeviceGetHandleByUUID(name)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(card)
    except pynvml.NVMLError:
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(card) / 1e3


def _name_of_card(number: int) -> str:
    """Index or UUID of JAX's card of a number for the driver, which counts hidden ones, too."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",")[number].strip() if visible else str(number)
