"""Functions along an axis: every place has its own result, however many are computed at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops.mapping import for_each, over_tokens


@pytest.mark.parametrize("places", [1, 2, 5])
@pytest.mark.parametrize("at_once", [0, 1, 2, 5, 9])
def test_every_place_has_its_own_result(places, at_once):
    """Catches places that are lost or mixed up, and an axis that is missing."""
    trees = {"a": jnp.arange(places), "b": jnp.arange(3 * places).reshape(places, 3), "c": None}
    found = for_each(lambda tree: (tree["a"] + tree["b"], tree["b"].sum()), trees, at_once)
    np.testing.assert_array_equal(found[0], trees["a"][:, None] + trees["b"])
    np.testing.assert_array_equal(found[1], trees["b"].sum(axis=1))


def test_a_single_place_is_computed_without_an_axis():
    """Catches the axis of one along which XLA is slow."""
    shapes = []
    jax.eval_shape(
        lambda x: for_each(lambda row: shapes.append(row.shape) or row, x), jnp.ones((1, 3))
    )
    assert shapes == [(3,)]


@pytest.mark.parametrize("reverse", [False, True])
def test_tokens_follow_each_other(reverse):
    """Catches axes that are exchanged, tokens in the wrong order, and parts that are mixed up."""
    a, b = jnp.arange(6.0).reshape(2, 3), 10.0 ** jnp.arange(12).reshape(2, 3, 2)

    def advance(state, at_t):
        number, a_t, (b_t,) = at_t
        state = 2 * state + a_t[:, None] * b_t + number
        return state, (state, a_t)

    start, numbers = jnp.zeros((2, 2)), jnp.arange(3)
    states, kept = over_tokens(advance, start, (a, (b,)), (numbers,), reverse=reverse)
    state = np.zeros((2, 2))
    for token in (2, 1, 0) if reverse else (0, 1, 2):
        state = 2 * state + np.asarray(a[:, token, None] * b[:, token]) + token
        np.testing.assert_allclose(states[:, token], state, rtol=1e-6)
    np.testing.assert_array_equal(kept, a)
