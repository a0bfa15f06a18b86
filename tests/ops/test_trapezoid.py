"""The recurrence that writes each token twice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops.trapezoid import Weights, trapezoid
from tests.support import references, twins
from tests.support.twins import normal


def of_arrays(q, k, v, *weights, **options):
    return trapezoid(q, k, v, Weights(*weights), **options)


def arguments(length, ranks):
    shape = (2, length, 3)
    q, k, v = (normal(i, *shape, ranks, size) for i, size in enumerate((4, 4, 5)))
    now, before = np.exp(normal(4, *shape)), np.exp(normal(5, *shape))
    return q, k, v, -np.exp(normal(3, *shape) - 1), now, before


# Catches the write of the token before without its decay, or with the weight of another token;
# ranks that do not read each other; chunks that are not joined.
@pytest.mark.parametrize("backend", ["sequential", "chunked"])
@pytest.mark.parametrize(("length", "ranks"), [(1, 1), (7, 2), (37, 1), (37, 3)])
def test_value_and_gradient(backend, length, ranks):
    op = lambda *a: of_arrays(*a, backend=backend)
    twins.check(op, references.trapezoid, arguments(length, ranks))


# Catches a weight of a later token that is added and taken back: what is left would be rounding.
def test_nothing_comes_from_later_tokens():
    arrays = [jnp.asarray(a, jnp.float32) for a in arguments(20, 2)]
    read = lambda *a: of_arrays(*a)[:, 9].sum()
    for gradient in jax.grad(read, argnums=range(6))(*arrays):
        assert not np.asarray(gradient)[:, 10:].any()
