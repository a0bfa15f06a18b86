"""How much memory there is."""

import types

import jax

from mecheval_jax.partitioning import memory


def test_a_container_has_what_it_may_take(monkeypatch, tmp_path):
    """Catches a program that counts on memory of the machine which its container does not give."""
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    devices = jax.local_device_count()
    machine = memory.total_memory()
    assert 0 < memory.free_memory(jax.devices()[0]) <= machine
    limit.write_text("max\n")
    assert memory.total_memory() == machine
    limit.write_text("1000000\n")
    assert memory.total_memory() == 1_000_000
    assert memory.free_memory(jax.devices()[0]) == 1_000_000 // devices
    (tmp_path / "memory.current").write_text("400000\n")
    assert memory.free_memory(jax.devices()[0]) == 600_000 // devices
    (tmp_path / "memory.stat").write_text("anon 100000\ninactive_file 300000\n")
    assert memory.free_memory(jax.devices()[0]) == 900_000 // devices


def test_an_accelerator_has_its_own(monkeypatch):
    """Catches the host's memory taken for that of its devices."""
    device = types.SimpleNamespace(memory_stats=lambda: {"bytes_limit": 1000, "bytes_in_use": 300})
    assert memory.free_memory(device) == 700
    monkeypatch.setattr(jax, "local_devices", lambda: [device, device])
    assert memory.total_memory() == 2000
