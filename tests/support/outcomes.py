"""Many documents of a task, and whether what they hold is drawn as it should be."""

import functools
import types

import jax
import numpy as np
from scipy import stats

DOCUMENTS = 4000
FIRST = 3


def in_numpy(batch):
    """A batch with the same fields, not of the same type: a `Batch` holds JAX's arrays."""
    return types.SimpleNamespace(**jax.tree.map(np.asarray, vars(batch)))


@functools.cache
def drawn(task):
    """Many documents."""
    return in_numpy(jax.jit(lambda key: task.sample(key, DOCUMENTS))(jax.random.key(0)))


def is_drawn_from(probabilities, outcomes):
    """Chi-square test: outcomes occur as often as probabilities by outcome say."""
    counts = [sum(outcome == drawn for drawn in outcomes) for outcome in probabilities]
    assert sum(counts) == len(outcomes), "an outcome that cannot be"
    expected = np.array(list(probabilities.values()))
    return stats.chisquare(counts, len(outcomes) * expected / expected.sum()).pvalue > 1e-3


def is_uniform(values, outcomes):
    """Outcomes are the values, each as often."""
    return is_drawn_from(dict.fromkeys(values, 1.0), outcomes)


def rows(array):
    """Rows as tuples."""
    return [tuple(row) for row in array.tolist()]
