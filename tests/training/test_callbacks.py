"""Who is told what happens in training."""

import numpy as np
import pytest

from mecheval_jax.reporting.terminal.progress import RunCallbacks
from mecheval_jax.sweeps.group import _GroupRun
from mecheval_jax.training.callbacks import Callbacks, Pace, Standing
from tests.support import small


@pytest.mark.parametrize("kind", [RunCallbacks, _GroupRun, small.Recorder])
def test_whoever_is_told_takes_all_of_it(kind):
    """Catches callbacks that lack a method, which only a stretch of training would find."""
    methods = [name for name in vars(Callbacks) if not name.startswith("_")]
    assert sorted(methods) == ["advance", "record", "say"]
    assert all(callable(getattr(kind, name, None)) for name in methods)


def test_a_standing_is_of_every_member():
    """Catches fields that have changed places."""
    flags = [np.array(of) for of in ([-1, 2], [-1, -1], [True, False])]
    standing = Standing(3, *flags, 5, 0.5)
    assert standing.diverged_at.tolist() == [-1, 2]
    assert standing.learns.tolist() == [True, False]
    assert (standing.taken, standing.seconds) == (5, 0.5)


def test_the_pace_is_that_of_several_stretches():
    """Catches a rate with the time to compile, of one stretch that the host saw late, or of old
    stretches."""
    flags = (np.zeros(1, int),) * 2 + (np.ones(1, bool),)
    pace = Pace()
    stretches = [(0, 0.0), (20, 10.0), (0, 1.0), (20, 0.0), (20, 2.0), (20, 3.0), (20, 0.0)]
    rates = [pace.take(Standing(0, *flags, taken, seconds)) for taken, seconds in stretches]
    assert rates == pytest.approx([0, 2, 2, 2, 10, 10, 10])
    for _ in range(2):
        last = pace.take(Standing(0, *flags, 20, 5.0))
    assert last == pytest.approx(4)
