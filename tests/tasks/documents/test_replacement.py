"""Replacement by a token of a class that is any set of ids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.tasks.documents.replacement import replace
from tests.support.outcomes import is_uniform

IDS = np.array([2, 3, 7, 9])
DRAWS = 3000


# Catches a class taken for a range, the original among its replacements, one that is preferred
# since it stands behind the original, and an original outside of the class that takes one's place.
@pytest.mark.parametrize(("original", "left"), [(2, [3, 7, 9]), (7, [2, 3, 9]), (5, IDS)])
def test_replacements_are_uniform(original, left):
    tokens = jnp.tile(jnp.array([[8, original, 2]]), (DRAWS, 1))
    draw = jax.jit(lambda key: replace(key, tokens, jnp.ones(DRAWS, int), IDS))
    changed = np.asarray(draw(jax.random.key(0)))
    np.testing.assert_array_equal(changed[:, [0, 2]], np.asarray(tokens)[:, [0, 2]])
    assert is_uniform(left, changed[:, 1].tolist())


# Catches an absent role that is taken for the last token.
def test_an_absent_position():
    tokens = jnp.array([[2, 3, 7]])
    np.testing.assert_array_equal(replace(jax.random.key(0), tokens, jnp.array([-1]), IDS), tokens)
