"""Derivations: every expansion is a rule, and nothing is left out but what is too long."""

import collections

import numpy as np
import pytest
from scipy import stats

from mecheval_jax.tasks.treecall.derivation import derive
from tests.support.treecall_cases import VARIANTS, derived, nodes_of


@pytest.fixture(scope="module", params=VARIANTS)
def task(request):
    return VARIANTS[request.param]


# Derivations ---------------------------------------------------------------------------------


def test_every_expansion_is_a_rule_with_its_head(task):
    """Catches symbols out of order, a head at the wrong end, a parent of another expansion."""
    grammar, found = task.grammar, derived(task)
    right = grammar.head_side == "right"
    for document in range(60):
        nodes = nodes_of(found, document)
        children = collections.defaultdict(list)
        for node in nodes:
            children[id(node.parent)].append(node)
        (root,) = children[id(None)]

        def yield_of(head, children=children):
            """The symbols that stand for a head, in order."""
            parts = [[n] if id(n) not in children else yield_of(n) for n in children[id(head)]]
            inside = [node for part in parts for node in part]
            return [*inside, head] if right else [head, *inside]

        assert yield_of(root) == nodes
        for head in nodes:
            below = children.get(id(head))
            if below:
                # Some rule has these symbols, terminals as they are.
                shape = [None if id(n) in children else n.label for n in below]
                assert any(
                    len(rule) == len(shape)
                    and all(
                        (s >= grammar.terminals) if want is None else s == want
                        for s, want in zip(rule, shape, strict=True)
                    )
                    for rules in grammar.rules
                    for rule in rules
                )


def test_counts_and_depths(task):
    """Catches levels and expansions that are counted for another document."""
    found = derived(task)
    for document in range(60):
        nodes = nodes_of(found, document)
        heads = {id(n.parent) for n in nodes if n.parent}

        def depth(node):
            return 0 if node is None else 1 + depth(node.parent)

        assert found.expansions[document] == len(heads)
        assert found.depths[document] == max(depth(n.parent) for n in nodes)
        assert (
            found.documents[found.starts[document] : found.starts[document + 1]] == document
        ).all()


def test_long_derivations_are_left_out_and_nothing_else():
    """Catches a limit that cuts a yield, or also drops yields of just that length."""
    grammar = VARIANTS["medium"].grammar
    free = derive(grammar, np.random.default_rng(1), 3000, 10**6)
    assert free.lengths.max() > 60
    # Giving up early must not change what is left.
    counts = np.bincount(free.lengths, minlength=61)[:61] / len(free.lengths)
    bound = derive(grammar, np.random.default_rng(2), 3000, 60)
    assert bound.lengths.max() == 60
    found = np.bincount(bound.lengths, minlength=61)[:61]
    expected = counts / counts.sum() * found.sum()
    common = expected > 20
    table = np.stack([found[common], np.bincount(free.lengths, minlength=61)[:61][common]])
    assert stats.chi2_contingency(table).pvalue > 1e-3
