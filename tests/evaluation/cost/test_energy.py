"""Energy, where a machine reports it."""

import sys
import types

import jax
import pytest

from mecheval_jax.evaluation.cost import energy


def package(folder, number, microjoules, name=None):
    path = folder / f"intel-rapl:{number}"
    path.mkdir()
    (path / "name").write_text(f"{name or f'package-{number}'}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")


def test_packages_of_a_cpu(tmp_path):
    """Catches microjoules taken for joules, one package of two, and parts counted twice."""
    package(tmp_path, 0, 2_000_000)
    package(tmp_path, 1, 500_000)
    package(tmp_path, "0:0", 1_000_000, "core")  # of package 0
    package(tmp_path, 2, 4_000_000, "psys")  # the machine, with its packages
    package(tmp_path, 10, 0)
    assert energy.counter(tmp_path)() == 2.5


def test_nothing_is_reported(tmp_path):
    """Catches a traceback where there is no counter, or none that may be read."""
    assert energy.counter(tmp_path) is None
    package(tmp_path, 0, "denied")
    assert energy.counter(tmp_path) is None
    assert energy.counter(tmp_path / "absent") is None


class NVMLError(Exception):
    pass


@pytest.mark.parametrize(
    ("visible", "millijoules", "joules"),
    [
        (None, {0: 1500, 1: 1500}, 1.5),
        (None, {0: 1500}, 1.5),
        (None, {1: 1500}, None),
        ("2, GPU-5a", {0: 10, 1: 10, 2: 1000, "GPU-5a": 2000}, 1.0),
        ("GPU-5a,2", {0: 10, 1: 10, 2: 1000, "GPU-5a": 2000}, 2.0),
    ],
)
def test_cards(monkeypatch, visible, millijoules, joules):
    """Catches millijoules taken for joules, a card that does not count, one that is hidden, and the
    energy of cards that stand idle told as that of a program on one of them."""

    def energy_of(card):
        if card not in millijoules:
            raise NVMLError
        return millijoules[card]

    driver = types.SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetHandleByUUID=lambda name: name,
        nvmlDeviceGetTotalEnergyConsumption=energy_of,
        __spec__=None,
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    cards = [types.SimpleNamespace(local_hardware_id=i) for i in range(2)]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: cards)
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setattr(energy.importlib.util, "find_spec", lambda name: name)
    read = energy.counter()
    assert (read and read()) == joules


def test_other_devices(monkeypatch):
    """Catches a CPU's energy taken for a TPU's."""
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert energy.counter() is None
