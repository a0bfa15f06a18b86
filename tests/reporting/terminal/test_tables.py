"""What is printed is what was measured."""

import dataclasses

import pandas as pd

from mecheval_jax.reporting.terminal import tables
from tests.support.reported_runs import DISTRACTOR, VERDICT, evidence_rows, table_of


def test_interchange_is_printed(capsys):
    tables.show_interchange(table_of(), VERDICT)
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert ["layer", "1", "input", "-0.13", "0.93", "0.02"] in lines
    assert ["layer", "1", "output", "0.03", "-", "1.37"] in lines
    assert "[0.88, 0.98]" in out
    assert f"verdict: induction (layer 1): {VERDICT.reason}" in out
    assert "\x1b" not in out


def test_what_a_verdict_rests_on_is_printed_with_its_controls(capsys):
    """Catches a control beside another number, and a star where there is none to give."""
    evidence = {"attributions": evidence_rows(), "distractor": DISTRACTOR}
    verdict = dataclasses.replace(VERDICT, evidence=evidence)
    table = table_of().assign(significant=lambda rows: rows["role"] == "value")
    tables.show_interchange(table, verdict)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["layer", "1", "input", "-0.13", "0.93*", "0.02"] in lines
    reading = ["block_1/block_input", "value", "0.93", "[0.88,", "0.98]", "0.04", "-0.06"]
    assert [*reading, "restores"] in lines
    assert ["probabilities:", "induction", "87.4%,", "mixed", "12.6%"] in lines
    assert ["binding:", "convolution_at_value"] in lines
    assert any(line[:2] == ["distractor:", "an"] and "(37" in line for line in lines)


def test_a_pool_says_who_is_in_it(capsys):
    """Catches runs left out without a word."""
    evidence = {"attributions": evidence_rows()}
    verdict = dataclasses.replace(VERDICT, evidence=evidence)
    failed = dataclasses.replace(verdict, verdict="not_learned", layer=None)
    tables.show_pool(verdict, {"runs/a": verdict, "runs/b": failed})
    out = capsys.readouterr().out
    assert "1 of 2 runs have learned the task" in out
    assert "runs/a: induction (layer 1)\n" in out
    assert "runs/b: not_learned, left out" in out
    assert "verdict: induction (layer 1)" in out


def test_a_grid_without_the_residual_stream_is_printed_too(capsys):
    tables.show_interchange(table_of({("block_1/mixer_output", "query"): 0.71}), None)
    out = capsys.readouterr().out
    assert "layer 1 mixer_output" in out
    assert "0.71" in out
    assert "verdict: none" in out


def test_of_what_the_values_of_analyses_are(capsys):
    """Catches numbers without what they count, a component told twice, and gaps between commas."""
    measured = {"value": 0.5, "low": 0.25, "high": 0.75}
    found = {
        "components": {"component": "layer 0 (Based)", "where": "pair", "metric": "kept"},
        "circuits": {"corruption": "key", "circuit": "eap", "edges": 9, "metric": "faithfulness"},
        "circuit_metrics": {"circuit": "random", "method": "eap", "points": "", "edges": 3},
        "edges": {"sender": "embedding", "reader": "logits", "port": "", "metric": "edge"},
        "editing": {"component": "write", "site": "block_1/mixer/write", "operation": "edit"},
    }
    tables.show_analyses({name: pd.DataFrame([row | measured]) for name, row in found.items()})
    told = [line.strip() for line in capsys.readouterr().out.splitlines()[1::2]]
    assert told == [
        "0.50 [0.25, 0.75]  layer 0 (Based), pair, kept",
        "0.50 [0.25, 0.75]  key, eap, edges 9, faithfulness",
        "0.50 [0.25, 0.75]  eap, random, edges 3",
        "0.50 [0.25, 0.75]  embedding, logits, edge",
        "0.50 [0.25, 0.75]  block_1/mixer/write, edit",
    ]
