"""What tasks share: distinct draws without rejection, a document in words."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mecheval_jax.tasks.base import sample_distinct
from tests.support.recall_by_hand import by_hand


# Catches draws that repeat, that leave out some order, or that reach an excluded value.
@pytest.mark.parametrize(
    ("count", "population", "excluded"),
    [(3, 4, None), (4, 4, None), (1, 5, None), (2, 7, [6, 0, 3]), (0, 3, None)],
)
def test_sample_distinct_is_uniform(count, population, excluded):
    taken = None if excluded is None else jnp.array(excluded)
    draw = lambda key: sample_distinct(key, count, population, taken)
    keys = jax.random.split(jax.random.key(2), 6000)
    drawn = np.asarray(jax.jit(jax.vmap(draw))(keys))
    left = sorted(set(range(population)) - set(excluded or []))
    orders = list(itertools.permutations(left, count))
    counts = dict.fromkeys(orders, 0)
    for row in drawn.tolist():
        counts[tuple(row)] += 1  # KeyError: a repeated or an excluded value
    if len(orders) > 1:
        assert stats.chisquare(list(counts.values())).pvalue > 1e-3


# Catches a population that must be known when the program is compiled.
def test_sample_distinct_from_a_traced_population():
    draw = jax.jit(lambda key, population: sample_distinct(key, 2, population))
    drawn = [sorted(np.asarray(draw(jax.random.key(i), 2))) for i in range(5)]
    assert drawn == [[0, 1]] * 5


# Catches a document that names its roles wrongly or in the wrong place.
def test_describe():
    task, batch = by_hand()
    assert task.describe(batch, 0) == (
        "<bos> k1[key] v2[value] f1[next_key] k0[next_pair_key] v0 f0 k2 v1 <eos> "
        "k1[query] v2[answer] <eos>"
    )
