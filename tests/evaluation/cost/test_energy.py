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


@pytest.mark.parametrize(("supported", "joules"), [(True, 3.0), (False, None)])
def test_cards(monkeypatch, supported, joules):
    """Catches millijoules taken for joules, and a card that does not count."""

    def energy_of(card):
        if not supported:
            raise NVMLError
        return 1500

    driver = types.SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetTotalEnergyConsumption=energy_of,
        __spec__=None,
    )
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
