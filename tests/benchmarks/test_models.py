"""Benchmarks of a model: how costs grow, and models without sites."""

import types

from mecheval_jax.benchmarks import models
from mecheval_jax.sites import Site


def step_of(mixer, options, length):
    """A program that takes memory as the square of the length, and a call that tells its length."""
    del mixer, options
    sizes = types.SimpleNamespace(temp_size_in_bytes=length**2)
    return types.SimpleNamespace(memory_analysis=lambda: sizes), lambda: length


# Catches a power to another base than the lengths' ratio.
def test_costs_in_length(rows):
    changes = {"_length_step": step_of, "seconds": lambda call, repeats: call() / 1e3}
    lines = rows(models, models.costs_in_length, **changes)[2:-1]
    assert [line.split()[0] for line in lines] == list(models.FIXED_STATE)
    assert all(
        line.split()[1:] == ["512.0", "4096.0", "1.00", "0.3", "16.8", "2.00"] for line in lines
    )


# Catches a model, a loss or an option that is no more.
def test_a_step(rows):
    steps = []
    rows(models, lambda: steps.append(models._length_step("s4d", {"d_state": 4}, 8)))
    assert callable(steps[0][1])


# Catches sites that stay away once they were measured.
def test_unused_sites(rows):
    call, seen = Site.__call__, []

    def seconds(program, repeats):
        del program, repeats
        seen.append(Site.__call__ is call)
        return 2.0

    lines = rows(models, models.unused_sites, seconds=seconds, _length_step=step_of)
    assert seen == [True, False] * 4
    assert Site.__call__ is call
    assert [line.split()[-1] for line in lines[2:]] == ["1.00"] * 4
