"""Benchmarks of a model: how costs grow, and models without sites."""

import types

import numpy as np

from mecheval_jax.benchmarks import models
from mecheval_jax.benchmarks.measured import Measured
from mecheval_jax.sites import Site


def step_of(mixer, options, length):
    """A program that takes memory as the square of the length, and a call that tells its length."""
    del mixer, options
    sizes = types.SimpleNamespace(temp_size_in_bytes=length**2)
    return types.SimpleNamespace(memory_analysis=lambda: sizes), lambda: length


# Catches a power to another base than the lengths' ratio.
def test_costs_in_length(rows):
    def times(what, quantity, call, repeats):
        del repeats
        return Measured(what, quantity, (call(),))

    table = rows(models, models.costs_in_length, _length_step=step_of, times=times)
    assert list(table) == list(models.FIXED_STATE)
    for row in table.values():
        assert (row["time, 512"], row["memory, 4,096"]) == (512, 4096**2)
        np.testing.assert_allclose((row["power of the time"], row["power of the memory"]), (1, 2))


# Catches a model, a loss or an option that is no more.
def test_a_step(rows):
    steps = []
    rows(models, lambda: steps.append(models._length_step("s4d", {"d_state": 4}, 8)) or ())
    assert callable(steps[0][1])


# Catches sites that stay away once they were measured.
def test_unused_sites(rows):
    call, seen = Site.__call__, []

    def times(what, quantity, program, repeats):
        del program, repeats
        seen.append(Site.__call__ is call)
        return Measured(what, quantity, (2.0,))

    table = rows(models, models.unused_sites, times=times, _length_step=step_of)
    assert seen == [True, False] * 4
    assert Site.__call__ is call
    assert [row["ratio"] for row in table.values()] == [1] * 4
