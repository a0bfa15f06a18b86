import types

import pytest

from mecheval_jax.partitioning import devices

CPU = types.SimpleNamespace(platform="cpu", device_kind="cpu")


def test_other_devices_have_the_name_that_jax_gives():
    card = types.SimpleNamespace(platform="gpu", device_kind="NVIDIA H100 80GB HBM3")
    assert devices.device_name(card) == "NVIDIA H100 80GB HBM3"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC  9R14\nmodel name\t: B\n", "AMD EPYC 9R14"),
        ("processor\t: 0\nBogoMIPS\t: 2100.00\n", "the system's"),  # as on ARM
        (None, "the system's"),
    ],
)
def test_a_processor_has_the_name_that_the_system_knows(text, name, tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(devices, "CPUINFO", path)
    monkeypatch.setattr(devices.platform, "processor", lambda: "the system's")
    assert devices.device_name(CPU) == name


def test_a_processor_without_a_name_is_a_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(devices.platform, "processor", lambda: "")
    assert devices.device_name(CPU) == "cpu"
