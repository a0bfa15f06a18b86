"""Competitors in processes of their own."""

import functools
import os
import time

import pytest

from mecheval_jax.benchmarks.competitors import Competitor, times_of_turns


# Catches times of another competitor, the first round counted, and times of a whole turn.
def test_everybody_has_the_own_time():
    long, short = (
        Competitor(functools.partial, (time.sleep, 4 * seconds)) for seconds in (0.05, 0.01)
    )
    found = times_of_turns({"long": long, "short": short}, rounds=2, per=4)
    assert [len(values) for values in found.values()] == [2, 2]
    assert all(0.05 <= value < 0.09 for value in found["long"])
    assert all(0.01 <= value < 0.05 for value in found["short"])


# Catches a benchmark that waits for ever for a process that is gone.
def test_a_process_that_ends():
    with pytest.raises(RuntimeError, match="process of 'gone' ended before its turn"):
        times_of_turns({"gone": Competitor(os._exit, (3,))}, rounds=1)
