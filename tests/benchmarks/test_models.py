"""Benchmarks of a model: how costs grow, and models without sites."""

import types

import numpy as np
import pytest

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


# Catches a model whose sites are those of the other, and turns that are none.
def test_unused_sites(rows):
    call, turns = Site.__call__, []

    def step(mixer, options, length):
        del mixer, options, length
        with_sites = Site.__call__ is call
        return None, lambda: turns.append(with_sites)

    def in_turn(what, runs, rounds):
        del rounds
        for run in runs.values():
            run()
        return {name: Measured(what, name, (2.0,)) for name in runs}

    table = rows(models, models.unused_sites, measured_in_turn=in_turn, _length_step=step)
    assert turns == [True, False] * 4
    assert Site.__call__ is call
    assert [row["ratio"] for row in table.values()] == [1] * 4


# Catches a package that stays without its sites.
def test_sites_are_put_back(rows):
    call, sites = Site.__call__, []

    def step(mixer, options, length):
        del mixer, options, length
        sites.append(Site.__call__)
        if len(sites) == 2:
            raise MemoryError
        return None, lambda: None

    with pytest.raises(MemoryError):
        rows(models, models.unused_sites, _length_step=step)
    assert sites[0] is call is Site.__call__
    assert sites[1] is not call
