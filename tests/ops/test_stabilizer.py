"""The running maximum of exponential gates."""

import numpy as np
import pytest

from mecheval_jax.ops.stabilizer import log_maximum
from tests.support import twins
from tests.support.twins import normal


def maximum(log_decay, x):
    """The largest of x[s] + log_decay[s+1] + ... + log_decay[t]."""
    m = np.zeros(x.shape)
    for t in range(x.shape[1]):
        faded = [x[:, s] + log_decay[:, s + 1 : t + 1].sum(axis=1) for s in range(t + 1)]
        m[:, t] = np.max(faded, axis=0)
    return m


# Catches a maximum that starts at 0, which is no token's weight, or fades a token late.
@pytest.mark.parametrize("length", [1, 9])
def test_value_and_gradient(length):
    arguments = -np.abs(normal(0, 2, length, 3)), normal(1, 2, length, 3) - 5
    twins.check(log_maximum, maximum, arguments)
