"""What launch.inspect prints: documents with roles, statistics, floors."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from mecheval_jax.reporting.terminal import inspection, tables
from mecheval_jax.tasks.base import EOS, Batch
from mecheval_jax.tasks.documents.documents import Documents
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from tests.support import document_lines, small

TASK = AssociativeRecall(pairs=2, key_vocabulary=4, value_vocabulary=4, queries=2)


def made():
    """`<bos> k0 v1 k2 v3 <eos> k2 v3 k0 v1 <eos>`, of which the second query is not used."""
    tokens = jnp.array([[1, 3, 8, 5, 10, 2, 5, 10, 3, 8, 2, 0]], jnp.int32)
    row = lambda *values: jnp.array([values], jnp.int32)
    return Batch(
        tokens=tokens,
        query_positions=row(6, 8),
        targets=row(10, 8),
        weights=jnp.array([[1.0, 1.0]]),
        roles={
            "bos": row(0, 0),
            "key": row(3, 1),
            "value": row(4, 2),
            "next_key": row(-1, 3),
            "value+2": row(-1, 4),
            "divider": row(5, 5),
            "query": row(6, 8),
            "answer": row(7, 9),
        },
        lengths=jnp.array([11], jnp.int32),
    )


# Catches a role at another token, of another query, or one that is absent; a query left out.
def test_a_document_in_words():
    text = inspection.document(TASK, made(), 0, coloured=False)
    first, *questions = text.plain.splitlines()
    assert first == ("<bos> k0 v1 k2[key] v3[value] <eos> k2[query] v3[answer] k0 v1 <eos>")
    assert [line.strip() for line in questions] == [
        "query 0: at position 6, after k2: v3",
        "query 1: at position 8, after k0: v1",
    ]
    assert not text.spans


# Catches colours that differ from the legend's, and brackets where a colour says it.
def test_a_document_in_colours():
    batch = made()
    text = inspection.document(TASK, batch, 0, coloured=True)
    assert "[" not in text.plain
    legend = inspection.legend(TASK, coloured=True)
    style_of = {legend.plain[s.start : s.end]: s.style for s in legend.spans}
    assert len(set(style_of.values())) == len(style_of) == 6
    found = [(text.plain[s.start : s.end], s.style) for s in text.spans]
    roles = ("key", "value", "query", "answer")
    assert found == list(zip(["k2", "v3", "k2", "v3"], map(style_of.get, roles), strict=True))
    together = batch.replace(roles={**batch.roles, "next_key": batch.roles["key"]})
    assert "k2[key,next_key]" in inspection.document(TASK, together, 0, coloured=True).plain


# Catches statistics that count padding, or queries that are not used.
def test_statistics_by_hand():
    batch = made().replace(weights=jnp.array([[1.0, 0.0]]))
    values = {name: found.tolist() for name, found in inspection.distributions(batch).items()}
    assert values == {
        "tokens of a document": [11],
        "queries of a document": [1],
        "from key to query": [3],
        "between key and value": [1],
    }
    # Before the divider all differ; without one, k0 v1 k2 v3 stand twice, and eos does not count.
    assert inspection.repeated_share(TASK, batch) == 0
    whole = {name: positions for name, positions in batch.roles.items() if name != "divider"}
    assert inspection.repeated_share(TASK, batch.replace(roles=whole)) == 4 / 8
    none = batch.roles | {"divider": jnp.full((1, 2), -1)}  # as where only others have one
    assert inspection.repeated_share(TASK, batch.replace(roles=none)) == 4 / 8
    # The answer stands after the query, too, which does not count; nor does a query of no weight.
    assert inspection.answered_before(batch) == 1
    alone = batch.tokens.at[0, : batch.query_positions[0, 0] + 1].set(EOS)
    assert inspection.answered_before(batch.replace(tokens=alone)) == 0
    assert inspection.answered_before(batch.replace(weights=0 * batch.weights)) == 0
    assert inspection.frequent(TASK, batch)[0] == ("<eos>", 2 / 11)
    assert sum(share for _, share in inspection.frequent(TASK, batch)) == pytest.approx(1)
    absent = batch.replace(roles={**batch.roles, "key": -jnp.ones_like(batch.roles["key"])})
    found = inspection.distributions(absent)
    assert [len(numbers) for numbers in found.values()] == [1, 1, 0, 0]
    assert inspection.quantile_cells(found["from key to query"])[0] == "-"


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    records = []
    for i in range(10):
        text = f"n{i} [red] A x . A"
        query = {"query": [15, 16], "answer": "x", "key": [9, 10], "value": [11, 12]}
        records.append({"text": text, "queries": [query]})
    path = tmp_path_factory.mktemp("inspection") / "mine.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return Documents(str(path), dev=0.0, test=0.0)


# Catches a program for one task only, markup that eats a token, and output without its parts.
def test_show(mine, capsys):
    inspection.show(mine, "train", count=2)
    out = capsys.readouterr().out
    assert out.count("[red] A[key] x[value] .[next_key] A[query] <eos>") == 2
    for words in (
        "vocabulary: 18 tokens",
        "documents: train 10, dev 0, test 0",
        "from key to query",
        "copy_next",
        "chance",
        "roles: key",
    ):
        assert words in out
    assert "100.0%" in out  # the only answer


def test_colours_on_a_terminal(mine, monkeypatch, capsys):
    """Catches colours that are asked for and never printed."""
    monkeypatch.setattr(
        tables, "Console", lambda **kwargs: Console(force_terminal=True, width=200, **kwargs)
    )
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    inspection.show(mine, "train", count=1)
    assert "\x1b[1;32mA\x1b[0m" in capsys.readouterr().out


def test_tokens_are_texts_on_a_terminal(tmp_path, capsys):
    """Catches a token of a user's document that a terminal obeys."""
    evil = "\x1b[31mred\x07"
    lines = document_lines.many(40, words=(evil, "Lima"))
    task = Documents(path=document_lines.write(tmp_path, *lines))
    inspection.show(task, "train", count=2)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\x1b[31mred\\x07" in out


def test_no_document_of_a_small_split_is_shown_twice(tmp_path, capsys):
    """Catches statistics of 512 documents of a split that has three, and lines that repeat others
    counted as documents."""
    lines = list(document_lines.many(3))
    task = Documents(document_lines.write(tmp_path, *lines, *lines[:2]), dev=0.0, test=0.0)
    inspection.show(task, "train", count=50)
    out = capsys.readouterr().out
    assert "3 documents of train" in out
    assert "documents: train 3, dev 0, test 0" in out
    assert "2 lines with the tokens and queries of an earlier one left out" in " ".join(out.split())
    for i in range(3):
        assert out.count(f"<bos> n{i} ") == 1


def test_the_program(tmp_path):
    """Catches a program that does not start, and a file's mistakes squeezed into one line."""
    path = tmp_path / "mine.jsonl"
    path.write_text("{\n[]\n")
    result = small.start(["-m", "launch.inspect", f"--config=configs/documents.py:path={path}"])
    assert result.returncode == 2, result.stderr
    lines = result.stderr.splitlines()
    assert f"error: {path} has 2 bad lines:" in lines
    assert "  line 2: is no JSON object" in lines


def test_distribution_cells():
    """Catches columns that are not in the order of their heads."""
    cells = inspection.quantile_cells(np.array([1, 2, 3, 4, 10]))
    assert cells == ["4.0", "1", "2", "3", "4", "10"]
