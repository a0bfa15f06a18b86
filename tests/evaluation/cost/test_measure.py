"""Rows of the table of costs."""

import dataclasses
import sys

import flax.linen as nn
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.cost import measure
from mecheval_jax.evaluation.cost.measure import CostOptions, cost_rows
from mecheval_jax.models.language_model import ModelConfig


class Adding(nn.Module):
    """A mixer of somebody's own, in its parallel form alone."""

    width: int

    def __call__(self, x, positions=None):
        return x


SMALL = ModelConfig("attention", 1, 8, 16, 8)


def test_a_row_has_it_all(monkeypatch):
    """Catches times of another unit, tokens of another batch, and a context that does not fit."""
    clock = iter([[0.4, 0.2, 0.3]])
    monkeypatch.setattr(measure.timing, "repeated", lambda *_: next(clock))
    monkeypatch.setattr(measure.energy, "counter", lambda: iter([10.0, 18.0]).__next__)
    options = CostOptions(lengths=(16,), programs=("prefill",), tokens=64)
    (row,) = cost_rows({"a": SMALL}, options)
    assert (row["model"], row["length"], row["batch"], row["calls"]) == ("a", 16, 4, 3)
    assert (row["seconds"], row["low"], row["high"]) == (0.3, 0.2, 0.4)
    assert row["tokens_per_second"] == pytest.approx(64 / 0.3)
    assert row["joules_per_token"] == pytest.approx(8 / 4 / 64)
    assert row["state_bytes"] == 4 + 2 * 16 * 8 * 4 + 4
    assert row["temporary_bytes"] > 0
    assert row["flops_per_token"] > 0
    assert row["reason"] is None


def test_what_cannot_be_measured_says_why(monkeypatch):
    """Catches a program that fills the memory, and a missing form that ends everything."""
    monkeypatch.setitem(sys.modules, "own_mixers", sys.modules[__name__])
    options = CostOptions(lengths=(16,), programs=("prefill", "decode"), memory=1)
    rows = list(cost_rows({"a": SMALL}, options))
    assert [row["program"] for row in rows] == ["prefill", "decode"]
    assert all("GB" in row["reason"] and row["seconds"] is None for row in rows)
    own = ModelConfig("own_mixers:Adding", 1, 8, 16, 8)
    (row,) = cost_rows({"own": own}, CostOptions(lengths=(16,), programs=("decode",)))
    assert "has no recurrent form" in row["reason"]
    assert row["state_bytes"] is None


def test_what_a_program_is_given_needs_memory_too():
    """Catches a decoding whose state fills the memory, for which it would end without a reason."""
    wide = dataclasses.replace(SMALL, max_length=4096)
    how = CostOptions(lengths=(4096,), programs=("decode",), batch=64, repeats=1)
    state = 2 * 64 * 4096 * 8 * 4  # keys and values
    for memory, is_refused in ((2 * state, True), (100 * state, False)):
        (row,) = cost_rows({"a": wide}, dataclasses.replace(how, memory=memory))
        assert row["temporary_bytes"] < 2 * state
        assert (row["reason"] or "").startswith("needs") == is_refused


def test_what_the_memory_does_not_hold_says_so(monkeypatch):
    """Catches a program that is too large and ends those after it."""

    def refused(*_):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")

    monkeypatch.setattr(measure, "_timed", refused)
    options = CostOptions(lengths=(8, 16), programs=("prefill",), tokens=16)
    rows = list(cost_rows({"a": SMALL}, options))
    assert [row["reason"] for row in rows] == [
        "there is no memory for a batch of 2", "there is no memory for a batch of 1"
    ]  # fmt: skip
    assert all(row["flops_per_token"] > 0 and row["seconds"] is None for row in rows)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lengths": ()}, "cost.lengths is empty"),
        ({"lengths": (128, 1)}, "cost.lengths has 1"),
        ({"lengths": (128, 64, 128)}, "cost.lengths names 128 twice"),
        ({"programs": ()}, "cost.programs is empty"),
        ({"programs": ("pre",)}, "unknown program of cost.programs 'pre'"),
        ({"repeats": 0}, "cost.repeats is 0"),
        ({"seconds": 0.0}, r"cost.seconds is 0\.0"),
    ],
)
def test_options_that_cannot_be(given, message):
    """Catches a measurement that starts and cannot end well."""
    with pytest.raises(UserError, match=message):
        CostOptions(**given)


def test_the_machine(monkeypatch):
    """Catches rates in another unit."""
    monkeypatch.setattr(measure.timing, "matrix_rate", lambda: 2e11)
    monkeypatch.setattr(measure.timing, "memory_bandwidth", lambda: 3e10)
    found = measure.machine()
    assert (found["matrix_gflops"], found["memory_gbytes_per_second"]) == (200, 30)
    assert found["platform"] == "cpu"
