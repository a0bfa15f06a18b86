"""The recurrence of a matrix whose transition is diagonal plus low rank, against its plain twin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.ops.dplr import Update, dplr, dplr_states, dplr_step
from tests.support import references
from tests.support.matrix_twins import (
    BATCH,
    HEADS,
    KEY,
    KINDS,
    LENGTHS,
    VALUE,
    arguments,
    check_at_extremes,
    extreme_decays,
    unit,
)
from tests.support.twins import check, normal


def op_of(backend):
    return lambda q, *update: dplr(q, Update(*update), backend)


# Catches a chunk that starts from another's state, an inverse that is wrong beyond the first
# blocks, a decay applied to its own token, what x reads after the decay, a mask off by one, and
# decays that are mixed up between key channels.
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("decayed", [1, KEY])
def test_chunked(length, kind, decayed):
    check(op_of("chunked"), references.dplr, arguments(kind, length, decayed))


# Catches an output of another token, tokens after it that are read or decay what is read, and
# decays that count the token that wrote.
@pytest.mark.parametrize("queries", [1, 2])
@pytest.mark.parametrize("length", [37, 101])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("decayed", [1, KEY])
def test_some_positions(length, kind, decayed, queries):
    q, *update = arguments(kind, length, decayed)
    positions = np.random.default_rng(5).integers(0, length, (BATCH, queries))
    rows = lambda y: np.take_along_axis(y, positions[..., None, None], axis=1)

    def op(q, *update):
        return dplr(q, Update(*update), positions=jnp.asarray(positions))

    check(op, lambda *given: rows(references.dplr(*given)), (q, *update))


# Catches a step that reads before it writes, or what x reads after the write.
@pytest.mark.parametrize("kind", KINDS)
def test_sequential(kind):
    check(op_of("sequential"), references.dplr, arguments(kind, 9, KEY))


# Catches a step from a state in the middle that starts anew, and outputs of another token.
def test_steps_continue():
    given = [jnp.asarray(a, jnp.float32) for a in arguments("general", 37, KEY)]
    expected = references.dplr(*arguments("general", 37, KEY))
    q, update = given[0], Update(*given[1:])
    states = dplr_states(update.decay(), update.erase(), update.write())
    at = lambda t: jax.tree.map(lambda part: part[:, t], update)
    after, o = dplr_step(states[:, 19], q[:, 20], at(20))
    np.testing.assert_allclose(o, expected[:, 20], atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(after, states[:, 20], atol=1e-5 * np.abs(states).max())


# Catches a chunked form that loses its digits where keys repeat: powers of the matrix that is
# inverted grow like binomials then.
def test_repeated_keys():
    q, k, v = (a.astype(np.float32) for a in arguments("decay", 64, 1)[:3])
    k = np.broadcast_to(unit(k[:, :1]), k.shape)
    update = (k, 0.99 * v, np.zeros_like(k[..., :1]), 0.99 * k)
    expected = references.dplr(*(a.astype(np.float64) for a in (q, *update)))
    y = jax.jit(op_of("chunked"))(q, *update)
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())


# Catches a state that is replaced after it was read, and one whose old content lives on.
@pytest.mark.parametrize("backend", ["sequential", "chunked"])
@pytest.mark.parametrize("entries", [False, True])
def test_states(backend, entries):
    update = arguments("general", 9, KEY)[1:]
    shape = (BATCH, 9, HEADS, KEY, VALUE)
    drawn = np.random.default_rng(5).uniform(size=shape) < 0.2
    mask = drawn if entries else np.arange(9)[None, :, None, None, None] == 4
    value = normal(6, *shape)

    def states(*update):
        entry = {"value": jnp.asarray(value), "mask": jnp.asarray(mask)}
        parts = Update(*update)
        return dplr_states(parts.decay(), parts.erase(), parts.write(), entry, backend)

    with jax.enable_x64(True):
        found = jax.jit(states)(*(jnp.asarray(a) for a in update))
    expected = references.dplr_states(*update, mask=mask, value=value)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


# Catches exponentials taken before the mask, sums of logarithms that lose all digits beside one
# that is huge, and 0 * inf in a gradient: states that vanish at once in one head or channel and
# never in another, by turns.
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["sequential", "chunked"])
@pytest.mark.parametrize("decayed", [1, KEY])
def test_extreme_decays(kind, backend, decayed):
    given = arguments(kind, 40, decayed)
    given[3] = extreme_decays(decayed)
    check_at_extremes(op_of(backend), references.dplr, given)


# Catches half precision that the products are computed in.
def test_half_precision():
    given = [jnp.asarray(a, jnp.bfloat16) for a in arguments("general", 37, KEY)]
    y = op_of("auto")(*given)
    assert y.dtype == jnp.bfloat16
    expected = references.dplr(*(np.asarray(a, np.float64) for a in given))
    np.testing.assert_allclose(np.asarray(y, np.float64), expected, atol=0.01 * np.abs(y).max())


# Catches a misspelt backend that falls back on another one.
def test_unknown_backend():
    with pytest.raises(UserError, match=r"'cuda'.*chunked"):
        op_of("cuda")(*(jnp.asarray(a, jnp.float32) for a in arguments("decay", 2, 1)))


# Catches slow decays that are 1, and so none, where states are computed from them.
def test_decays_near_one_in_half_precision():
    key = jnp.ones((1, 1, 1, 2), jnp.bfloat16)
    update = Update(key, key, jnp.full((1, 1, 1, 1), -(2.0**-9), jnp.bfloat16))
    assert update.decay().dtype == jnp.float32
    np.testing.assert_allclose(update.decay(), np.exp(-(2.0**-9)), rtol=1e-6)
