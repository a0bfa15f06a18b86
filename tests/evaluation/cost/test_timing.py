"""What a time is: the median of calls, the first of which does not count."""

import itertools

import pytest

from mecheval_jax.evaluation.cost import timing


# Catches a compilation that is measured, a mean of the times, and a call too many or too few.
def test_seconds(monkeypatch):
    spent = iter([1.0, 9.0, 2.0])
    clock = itertools.accumulate(x for t in spent for x in (0.0, t))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    calls = []
    assert timing.seconds(lambda: calls.append(1), repeats=3) == 2.0
    assert len(calls) == 4


# Catches a product counted as so many multiplications, without the additions.
def test_matrix_rate(monkeypatch):
    monkeypatch.setattr(timing, "seconds", lambda function, repeats: 0.5)
    assert timing.matrix_rate(10) == pytest.approx(2 * 1000 / 0.5)
