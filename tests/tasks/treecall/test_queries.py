"""Queries: those of a plain search, and a choice that is uniform on both levels."""

import collections

import numpy as np
import pytest

from mecheval_jax.benchmarks.plain_treecall import pairs_of
from mecheval_jax.tasks.treecall import queries
from mecheval_jax.tasks.treecall.queries import (
    QUERY_TYPES,
    AskableCells,
    choose_pairs,
    eligible_pairs,
    last_occurrences,
)
from tests.support.treecall_cases import VARIANTS, derived, nodes_of


@pytest.fixture(scope="module", params=VARIANTS)
def task(request):
    return VARIANTS[request.param]


# Queries -------------------------------------------------------------------------------------


@pytest.mark.parametrize("query_type", QUERY_TYPES)
def test_eligible_pairs_are_those_of_a_plain_search(task, query_type):
    """Catches an occurrence that is not the last, a wrong relative, and pairs that are missed."""
    found = derived(task)
    last = last_occurrences(found, task.terminals)
    pairs = eligible_pairs(found, query_type, last, AskableCells(0.0, 0, "train"))
    assert (np.diff(pairs.documents) >= 0).all()
    for document in range(len(found.lengths)):
        here, start = pairs.documents == document, found.starts[document]
        ours = set(zip(pairs.queries[here] - start, pairs.answers[here] - start, strict=True))
        plain = {(q.place, a.place) for q, a in pairs_of(nodes_of(found, document), query_type)}
        assert ours == plain
        assert here.sum() == len(plain)


@pytest.mark.parametrize("order", ["target_first", "query_first"])
def test_choice_is_uniform_on_both_levels(order):
    """Catches a choice over pairs at once, or in the other order."""
    found = derived(VARIANTS["child"], 40)
    last = last_occurrences(found, 20)
    by_type = {
        k: eligible_pairs(found, k, last, AskableCells(0.0, 0, "train")) for k in QUERY_TYPES
    }
    draw, documents = np.random.default_rng(0), len(found.lengths)
    counts = collections.Counter()
    rounds = 3000
    for _ in range(rounds):
        pairs, kinds = choose_pairs(draw, by_type, order, documents)
        counts.update(zip(pairs.documents, kinds, pairs.queries, pairs.answers, strict=True))
    worst = 0.0
    for document in range(0, documents, 8):
        types = [k for k, p in enumerate(by_type.values()) if (p.documents == document).any()]
        for kind, pairs in enumerate(by_type.values()):
            here = pairs.where(pairs.documents == document)
            outer, inner = (here.answers, here.queries)
            if order == "query_first":
                outer, inner = inner, outer
            for q, a, side in zip(here.queries, here.answers, outer, strict=True):
                share = 1 / len(types) / len(set(outer)) / (outer == side).sum()
                seen = counts.pop((document, kind, q, a), 0) / rounds
                worst = max(worst, abs(seen - share) / np.sqrt(share * (1 - share) / rounds + 1e-9))
    assert worst < 5
    assert not [key for key in counts if key[0] % 8 == 0]  # nothing but eligible pairs


def test_last_occurrences_of_many_terminals(monkeypatch):
    """Catches memory for every terminal of every document, which a machine need not have."""
    found = derived(VARIANTS["child"], 40)
    monkeypatch.setattr(queries, "LARGEST_TABLE", len(found.lengths) * 20 - 1)
    sorted_out = last_occurrences(found, 20)
    monkeypatch.undo()
    np.testing.assert_array_equal(sorted_out, last_occurrences(found, 20))
    assert (last_occurrences(found, 2**60 // 40) == sorted_out).all()  # no table has this size
