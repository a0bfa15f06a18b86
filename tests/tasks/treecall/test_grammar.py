"""Grammars: how they are drawn, kept as JSON and checked."""

import json

import numpy as np
import pytest
from scipy import stats

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.treecall.grammar import (
    GrammarConfig,
    build_grammar,
    from_json,
    load_grammar,
)
from tests.support.golden_files import FOLDER

REFERENCE = json.loads((FOLDER / "grammars.json").read_text())
"""Two grammars of the study's own program (L = 5 and L = 10, 20 terminals), and statistics of its
documents; taken from the reference data once, never to be updated."""


def grammars(count, **fields):
    return [build_grammar(GrammarConfig(seed=seed, **fields)) for seed in range(count)]


def test_rules_lead_to_larger_levels_only():
    """Catches recursion, and a level that is not 1 .. levels."""
    for grammar in grammars(20):
        assert set(grammar.levels) <= set(range(1, 11))
        for level, rules in zip(grammar.levels, grammar.rules, strict=True):
            for symbol in (s - 20 for rule in rules for s in rule if s >= 20):
                assert grammar.levels[symbol] > level


def test_numbers_of_rules_and_symbols_are_uniform():
    """Catches an end that is left out: 1 .. R rules, 1 .. L - 1 symbols, levels 1 .. D."""
    drawn = grammars(60, rules=3, symbols=4, levels=5)
    counts = [len(rules) for grammar in drawn for rules in grammar.rules]
    sizes = [len(rule) for grammar in drawn for rules in grammar.rules for rule in rules]
    levels = [level for grammar in drawn for level in grammar.levels]
    for values, largest in ((counts, 3), (sizes, 3), (levels, 5)):
        found = np.bincount(values, minlength=largest + 1)[1:]
        assert len(found) == largest
        assert stats.chisquare(found).pvalue > 1e-4


@pytest.mark.parametrize("weight", [None, 7.0])
def test_symbols_are_uniform_over_what_is_allowed(weight):
    """Catches a weight of the terminals that is not theirs together."""
    drawn = grammars(60, terminals=10, terminal_weight=weight)
    expected, nested, total = 0.0, 0, 0
    for grammar in drawn:
        levels = np.array(grammar.levels)
        for level, rules in zip(levels, grammar.rules, strict=True):
            allowed = int((levels > level).sum())
            symbols = [s for rule in rules for s in rule]
            expected += len(symbols) * allowed / (allowed + (weight or 10))
            nested += sum(s >= 10 for s in symbols)
            total += len(symbols)
    assert abs(nested - expected) < 4 * np.sqrt(total / 4)


def test_probabilities_are_dirichlet():
    """Catches a concentration that is not used: the largest of flat ones is near 1 / n."""
    flat = build_grammar(GrammarConfig(head_concentration=1e4, rule_concentration=1e4))
    np.testing.assert_allclose(flat.head_probabilities, 1 / 20, atol=0.01)
    for probabilities in flat.rule_probabilities:
        np.testing.assert_allclose(probabilities, 1 / len(probabilities), atol=0.05)
    uneven = build_grammar(GrammarConfig())
    # Mean of the largest of 20 such probabilities: (1 + 1/2 + ... + 1/20) / 20 = 0.18.
    assert abs(uneven.head_probabilities.max(axis=1).mean() - 0.18) < 0.03
    assert build_grammar(GrammarConfig(heads="uniform")).head_probabilities is None


def test_draws_follow_the_probabilities():
    """Catches thresholds that are off by one, or belong to another nonterminal."""
    grammar, draw = build_grammar(GrammarConfig(seed=3)), np.random.default_rng(0)
    for symbol in (0, 17, 39):
        chosen = np.full(20_000, symbol)
        rules = grammar.draw_rules(draw, chosen) - grammar.first_rule[symbol]
        heads = grammar.draw_heads(draw, chosen)
        for found, expected in (
            (rules, grammar.rule_probabilities[symbol]),
            (heads, grammar.head_probabilities[symbol]),
        ):
            expected = len(found) * np.array(expected) / np.sum(expected)
            counts = np.bincount(found, minlength=len(expected))
            assert counts.shape == expected.shape
            rare = expected < 10  # the test wants a few of each
            groups = [
                np.array([*values[~rare], values[rare].sum()]) for values in (counts, expected)
            ]
            groups = [values[groups[1] > 0] for values in groups]
            assert len(groups[0]) == 1 or stats.chisquare(*groups).pvalue > 1e-4


@pytest.mark.parametrize("fields", [{}, {"heads": "uniform"}, {"head_side": "left"}])
def test_json_gives_the_same_grammar(fields, tmp_path):
    """Catches digits that are lost, and fields that are not written."""
    grammar = build_grammar(GrammarConfig(seed=5, **fields))
    path = tmp_path / "grammar.json"
    path.write_text(grammar.as_json())
    again = load_grammar(str(path))
    for name in ("terminals", "levels", "rules", "rule_probabilities", "head_side"):
        assert getattr(again, name) == getattr(grammar, name)
    if grammar.head_probabilities is None:
        assert again.head_probabilities is None
    else:
        np.testing.assert_array_equal(again.head_probabilities, grammar.head_probabilities)
    assert again.as_json() == grammar.as_json()


def test_lengths_against_all_derivations():
    """Catches a bound that forgets the head, or takes the wrong end."""
    rules = (((0, 1), (0, 3)), ((1,), (0, 0, 0)))
    values = {
        "terminals": 2,
        "max_depths": {"nt0": 1, "nt1": 2},
        "rules": {"nt0": [["t0", "t1"], ["t0", "nt1"]], "nt1": [["t1"], ["t0", "t0", "t0"]]},
        "rule_probs": {"nt0": [0.5, 0.5], "nt1": [0.5, 0.5]},
        "head_probs": None,
    }
    grammar = from_json(json.dumps(values))
    assert grammar.rules == rules
    assert grammar.lengths() == ([3, 2], [6, 4])


@pytest.mark.parametrize("name", ["pcfg_5_20", "pcfg_10_20"])
def test_reference_grammars_load(name):
    """Catches a format that the study's own grammars do not have."""
    values = REFERENCE[name]["grammar"]
    grammar = from_json(json.dumps(values))
    assert grammar.nonterminals == len(values["rules"]) == 40
    assert grammar.terminals == 20
    assert grammar.head_side == "right"
    symbols = [s for rules in values["rules"].values() for rule in rules for s in rule]
    assert len(grammar.rule_symbols) == len(symbols)
    assert sum(s.startswith("nt") for s in symbols) == (grammar.rule_symbols >= 20).sum()


def broken(**changes):
    values = {
        "terminals": 2,
        "max_depths": {"nt0": 1, "nt1": 2},
        "rules": {"nt0": [["t0"], ["nt1"]], "nt1": [["t1"]]},
        "rule_probs": {"nt0": [0.5, 0.5], "nt1": [1.0]},
        "head_probs": {"nt0": [0.5, 0.5], "nt1": [0.1, 0.9]},
    }
    return json.dumps(values | changes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "no grammar"),
        ("{}", "lacks 'rules'"),
        (broken(rules={"nt0": [["nt0"]], "nt1": [["t1"]]}, rule_probs={"nt0": [1], "nt1": [1]}),
         "nt0 produces nt0, whose level is not larger"),
        (broken(rules={"nt0": [["nt7"], ["t0"]], "nt1": [["t1"]]}), "nt7, which has no rules"),
        (broken(rules={"nt0": [["t5"], ["t0"]], "nt1": [["t1"]]}), "terminal t5 of 2"),
        (broken(rules={"nt0": [["t1"], []], "nt1": [["t1"]]}), "nt0 has a rule without symbols"),
        (broken(rules={"nt0": [["x"], ["t1"]], "nt1": [["t1"]]}), "'x'"),
        (broken(rule_probs={"nt0": [0.5, 0.6], "nt1": [1.0]}), "nt0 sum to 1.1"),
        (broken(rule_probs={"nt0": [1.0], "nt1": [1.0]}), "nt0 has 2 rules and 1 probabilities"),
        (broken(head_probs={"nt0": [0.5, 0.6], "nt1": [0.1, 0.9]}), "do not sum to 1"),
        (broken(head_probs={"nt0": [1.0], "nt1": [1.0]}), r"shape \(2, 1\)"),
        (broken(head_side="top"), "unknown head_side 'top'"),
        (broken(rules={"nt0": [["t-1"], ["t0"]], "nt1": [["t1"]]}), "'t-1'.*no symbol"),
        (broken(rules={"nt0": [["nt-1"], ["t0"]], "nt1": [["t1"]]}), "'nt-1'.*no symbol"),
        (broken(rules={"nt0": [["t" + "9" * 5000], ["t0"]], "nt1": [["t1"]]}), "'t999.*no symbol"),
        (broken(rules={"nt0": [[3], ["t0"]], "nt1": [["t1"]]}),
         r"rules\.nt0\[0\]\[0\] is 3, and not a text"),
        (broken(rules={"nt0": ["t0", ["t0"]], "nt1": [["t1"]]}),
         r"rules\.nt0\[0\] is 't0', and not a list"),
        (broken(rules={}), "no rules"),
        (broken(rules=[]), "rules is a list, and not an object"),
        (broken(rules={"nt0": 3, "nt1": [["t1"]]}), r"rules\.nt0 is 3, and not a list"),
        (broken(rules={"nt0": [["t0"], ["t1"]], "nt2": [["t1"]]}), "rules lacks 'nt1'"),
        ("[1]", "not an object"),
        (broken(rule_probs={"nt0": [0.5, float("nan")], "nt1": [1.0]}), "nt0 sum to nan"),
        (broken(rule_probs={"nt0": [0.5, "a"], "nt1": [1.0]}),
         r"rule_probs\.nt0\[1\] is 'a', and not a number"),
        (broken(rule_probs={"nt0": [0.5, 0.5]}), "rule_probs lacks 'nt1'"),
        (broken(head_probs={"nt0": [0.5, float("nan")], "nt1": [1, 0]}), "do not sum to 1"),
        (broken(head_probs={"nt0": [0.5, 0.5], "nt1": [1]}), "rows of several lengths"),
        (broken(head_probs={"nt0": 1, "nt1": [1, 0]}), "not a list"),
        (broken(head_probs=None, terminals=None), "lacks 'terminals'"),
        (broken(terminals=2.5), "terminals is 2.5, and not a whole number"),
        (broken(terminals=True), "terminals is True, and not a whole number"),
        (broken(terminals=0), "terminals is 0"),
        (broken(max_depths={"nt0": "x", "nt1": 2}), r"max_depths\.nt0 is 'x', and not a"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_grammar_is_named(text, words):
    """Catches a file whose mistake shows up as a crash, or not at all."""
    with pytest.raises(UserError, match=words):
        from_json(text)


def test_a_file_that_is_not_there():
    with pytest.raises(UserError, match=r"nowhere\.json"):
        load_grammar("nowhere.json")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"terminals": 1}, "task.terminals is 1"),
        ({"symbols": 1}, "task.symbols is 1"),
        ({"levels": 0}, "task.levels is 0"),
        ({"seed": -1}, "task.seed is -1"),
        ({"heads": "none"}, "unknown task.heads 'none'"),
        ({"head_side": "top"}, "unknown task.head_side 'top'"),
        ({"terminal_weight": 0.0}, "task.terminal_weight is 0.0"),
        ({"head_concentration": -1.0}, "task.head_concentration is -1.0"),
    ],
)
def test_fields_that_cannot_be(fields, words):
    with pytest.raises(UserError, match=words):
        GrammarConfig(**fields)
