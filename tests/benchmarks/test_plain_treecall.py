"""The plain sampler of Treecall draws what the vectorised one does.

Distributions are compared by Kolmogorov-Smirnov and chi-square tests at fixed seeds.
"""

import itertools
import random

import numpy as np
import pytest
from scipy import stats

from mecheval_jax.benchmarks.plain_treecall import sampler
from mecheval_jax.tasks.synthetic.traceable import FIRST
from tests.support.treecall_cases import VARIANTS, drawn


@pytest.mark.parametrize("name", ["easy", "medium", "left", "mixed", "child", "sibling"])
def test_distributions_are_those_of_the_plain_sampler(name):
    """Catches a bias of the vectorised sampler in lengths, distances or answers."""
    task = VARIANTS[name]
    fast = drawn(task)
    plain = list(itertools.islice(sampler(task, random.Random(0)), 600))
    ours = {
        "length": fast.lengths - 5 - ("query_type" in fast.roles),
        "distance": (fast.roles["value"] - fast.roles["key"])[:, 0],
        "key": fast.roles["key"][:, 0] - 1,
    }
    theirs = {
        "length": [len(symbols) for symbols, *_ in plain],
        "distance": [answer - query for _, query, answer, _ in plain],
        "key": [query for _, query, *_ in plain],
    }
    for what, values in ours.items():
        assert stats.ks_2samp(values, theirs[what]).pvalue > 1e-3, what
    answers = np.bincount(
        [symbols[a].label for symbols, _, a, _ in plain], minlength=task.terminals
    )
    found = np.bincount(fast.targets[:, 0] - FIRST, minlength=task.terminals)
    common = answers + found > 20
    assert stats.chi2_contingency(np.stack([answers, found])[:, common]).pvalue > 1e-3
