"""Benchmarks of an accelerator call the package as it is, here on stand-ins."""

import pytest

from mecheval_jax import benchmarks
from mecheval_jax.benchmarks import device
from mecheval_jax.errors import UserError
from mecheval_jax.mixers import ARCHITECTURES
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.training.ensemble.member_programs import MemberPrograms

LENGTHS = {"LENGTHS": (8, 40)}


# Catches minutes on a CPU that was not meant, and a traceback.
def test_an_accelerator_is_asked_for():
    with pytest.raises(UserError, match="needs an accelerator"):
        benchmarks.measure(suite="device")


# Catches an architecture or a length that is left out, and a speed that is a time.
def test_every_architecture_is_measured(rows):
    def cost_rows(models, how):
        for length in how.lengths:
            for name in models:
                seconds = None if (name, length) == ("attention", 40) else 0.5
                row = {"model": name, "length": length, "seconds": seconds}
                yield row | {
                    "low": 0.25, "high": 1.0, "tokens_per_second": 8.0, "flops_per_token": 2.0
                }  # fmt: skip

    stand_ins = {"cost_rows": cost_rows, "matrix_rate": lambda: 64.0, "ModelConfig": ModelConfig}
    table = rows(device, device.steps_of_width, 64, **stand_ins, **LENGTHS)
    assert len(table) == 2 * len(ARCHITECTURES) - 1
    assert table["mamba, 40 tokens"] == {"trained": 8, "share of the matrix rate": 25}


# Catches a backend that is no more, or an argument of an operation.
def test_every_backend_is_measured(rows):
    table = rows(device, device.backends, **LENGTHS)
    assert len(table) == 3 * 2
    assert list(table["selective scan, 40 tokens"])[-1] == "pallas"
    assert list(table["delta rule, 8 tokens"]) == ["sequential", "chunked"]


# Catches a time of all members where that of one is meant.
def test_ensembles_are_measured(rows, monkeypatch):
    def seconds_of(programs, kind):
        return 3e-3 * programs.measured_steps * kind.at_once

    monkeypatch.setattr(MemberPrograms, "seconds_of", seconds_of)
    table = rows(device, device.ensembles, COMPARED=("mamba",), MEMBERS=(1, 2))
    assert table == {"mamba": {"1 members, a step of one": 3e-3, "2 members, a step of one": 3e-3}}


# Catches a precision that is not set, and a model that a step cannot be made of.
def test_precisions_are_measured(rows):
    made = []

    def steps(model, task, training, count):
        made.append((model.dtype, device.jax.config.jax_default_matmul_precision))
        return lambda: count

    table = rows(device, device.precisions, COMPARED=("mamba",), steps_on_one_device=steps)
    assert list(table["mamba"]) == ["float32", "TF32", "bfloat16"]
    assert made == [
        ("float32", "float32"), ("float32", "tensorfloat32"), ("bfloat16", "default")
    ]  # fmt: skip


# Catches a task that no longer draws on the device.
def test_documents_are_drawn(rows):
    table = rows(device, device.documents)
    assert list(table) == ["AR, 16 pairs", "MQAR, 256 tokens"]
