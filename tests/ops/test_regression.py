"""The system that MesaNet solves."""

import numpy as np
import pytest

from mecheval_jax.ops.regression import regularized_solve
from tests.support import twins
from tests.support.twins import normal


def solved(q, G, penalty):
    """(G + diag(penalty))^-1 q, one system at a time."""
    p = np.zeros(q.shape)
    for b, t, h in np.ndindex(*q.shape[:3]):
        p[b, t, h] = np.linalg.inv(G[b, t, h] + np.diag(penalty[h])) @ q[b, t, h]
    return p


# Catches a penalty of another head, the transpose of a matrix that an intervention has made
# unsymmetric, and blocks that stand at another's place.
@pytest.mark.parametrize("size", [1, 4, 21])
def test_value_and_gradient(size):
    factor = normal(1, 2, 3, 2, size, size) / np.sqrt(size)
    G = factor @ np.swapaxes(factor, -1, -2) + 0.1 * normal(2, 2, 3, 2, size, size)
    arguments = normal(0, 2, 3, 2, size), G, 1 + np.abs(normal(3, 2, size))
    twins.check(regularized_solve, solved, arguments)
