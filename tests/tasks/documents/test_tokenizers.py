"""Tokenizers of documents: those of Hugging Face, and a package that is not there."""

import importlib.util
import json
import sys

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.documents.documents import Documents
from mecheval_jax.tasks.documents.line import LineFormat
from mecheval_jax.tasks.documents.tokenizers import Tokens, tokenizer_of
from tests.support.document_lines import write


def test_the_tokenizers_package_is_asked_for(tmp_path, monkeypatch):
    """Catches a traceback where the optional package is missing."""
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UserError, match="pip install tokenizers"):
        tokenizer_of(str(tmp_path / "tokenizer.json"))


@pytest.mark.skipif(importlib.util.find_spec("tokenizers") is None, reason="optional package")
def test_hugging_face_tokenizer(tmp_path):
    """Catches special tokens, truncation, spans off by the white space of a piece."""
    import tokenizers
    from tokenizers import models, pre_tokenizers, processors

    pieces = ["[UNK]", "Ġorder", "Ġto", "Ġ", "ĠB", "7", "ĠOs", "lo", "Ġpaid", "[CLS]"]
    letters = sorted({c for piece in pieces for c in piece if len(piece) > 1} - set("[]"))
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces + letters))}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            pre_tokenizers.Split(tokenizers.Regex("Ġ?[A-Za-z]+|[0-9]|Ġ"), "isolated"),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", vocabulary["[CLS]"])]
    )
    tokenizer.enable_truncation(3)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    ours = tokenizer_of(str(path))
    text = " order B7 to 7 paid B7"
    tokens = ours.encode(text)
    assert isinstance(tokens, Tokens)
    assert len(tokens.symbols) == 9
    assert "[CLS]" not in tokens.symbols
    record = {
        "text": text,
        "queries": [{"query": [20, 22], "answer": "7", "key": [7, 9], "value": [13, 14]}],
    }
    (question,) = LineFormat(ours, of_ids=False).read(json.dumps(record).encode()).questions
    covered = [text[a:b] for a, b in zip(tokens.starts, tokens.stops, strict=True)]
    assert covered[question.position] == "7"
    assert question.position == 8
    assert covered[question.roles["key"]] == "7"
    assert question.roles["key"] < question.roles["value"]
    # Other words that the tokenizer does not know either make the same tokens: one split has both.
    form = LineFormat(ours, of_ids=False)
    unknown = [text.replace("paid", word) for word in ("sent", "lost")]
    contents = {form.read(json.dumps(record | {"text": one}).encode()).content for one in unknown}
    assert len(contents) == 1
    assert form.read(json.dumps(record).encode()).content not in contents
    record["queries"][0]["answer"] = "Lima"
    with pytest.raises(UserError, match=r"does not know the answer 'Lima': .* '\[UNK\]'"):
        form.read(json.dumps(record).encode())
    record["queries"][0]["answer"] = "7"
    task_file = write(tmp_path, json.dumps(record))
    task = Documents(task_file, tokenizer=str(path), dev=0.0, test=0.0)
    assert task.sha256 != Documents(task_file, dev=0.0, test=0.0).sha256
    # Two words that it does not know are one token, and nothing tells which is asked.
    text = " order Lima to 7 Rome to 7 Lima"
    query = {"query": [27, 31], "answer": "7", "key": [7, 11]}
    task_file = write(tmp_path, json.dumps({"text": text, "queries": [query]}))
    with pytest.raises(UserError, match="in 1 of 1 train documents the asked key is an unknown"):
        Documents(task_file, tokenizer=str(path), dev=0.0, test=0.0)
    with pytest.raises(UserError, match="cannot be read"):
        tokenizer_of(write_bad_tokenizer(tmp_path))


@pytest.mark.skipif(importlib.util.find_spec("tokenizers") is None, reason="optional package")
def test_merges_are_not_left_out_by_chance(tmp_path):
    """Catches other tokens at every reading, by a file that was written for training."""
    from tokenizers import Tokenizer, models

    pieces = {piece: i for i, piece in enumerate(["a", "b", "ab", "abab"])}
    merges = [("a", "b"), ("ab", "ab")]
    path = tmp_path / "tokenizer.json"
    Tokenizer(models.BPE(pieces, merges, dropout=0.5)).save(str(path))
    ours = tokenizer_of(str(path))
    assert {tuple(ours.encode("abab").symbols) for _ in range(40)} == {("abab",)}


def write_bad_tokenizer(folder):
    path = folder / "bad.json"
    path.write_text("{}")
    return str(path)
