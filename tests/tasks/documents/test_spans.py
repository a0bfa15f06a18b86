"""The tokens of a span, by looking at every character."""

import json
import random

import pytest

from mecheval_jax.tasks.documents.line import LineFormat
from mecheval_jax.tasks.documents.tokenizers import Bytes, Whitespace


def spans_by_hand(text, start, stop, kind):
    """First and last token of a span, by looking at every character of every token."""
    if kind == "whitespace":
        owners, token = [], -1
        for i, character in enumerate(text):
            if character.isspace():
                owners.append(None)
            else:
                token += i == 0 or text[i - 1].isspace()
                owners.append(token)
        touched = {owner for owner in owners[start:stop] if owner is not None}
    else:
        before = len(text[:start].encode())
        touched = set(range(before, before + len(text[start:stop].encode())))
    return min(touched), max(touched)


# Catches a span that is one token off, and characters that are counted as bytes.
@pytest.mark.parametrize(("kind", "tokenizer"), [("whitespace", Whitespace()), ("bytes", Bytes())])
def test_tokens_of_spans(kind, tokenizer):
    draw = random.Random(0)
    alphabet = ["ab", "é", "漢字x", "q", "😀", "longer", "\u00a0"]
    for _ in range(200):
        words = [draw.choice(alphabet[:6]) for _ in range(8)]
        gaps = [draw.choice([" ", "  ", "\t", "\u00a0"]) for _ in words]
        text, places = "", []
        for word, gap in zip(words, gaps, strict=True):
            places.append([len(text), len(text) + len(word)])
            text += word + gap
        first, second, third = sorted(draw.sample(range(8), 3))
        key = [places[first][0], places[second - 1][1]] if second > first + 1 else places[first]
        record = {
            "text": text,
            "queries": [
                {
                    "query": places[third],
                    "answer": "a",
                    "key": key,
                    "value": places[second],
                    "roles": {"mine": places[draw.randrange(8)]},
                }
            ],
        }
        for first_answer_token in (False, True):
            form = LineFormat(tokenizer, of_ids=False, first_answer_token=first_answer_token)
            document = form.read(json.dumps(record).encode())
            (question,) = document.questions
            assert question.position == spans_by_hand(text, *places[third], kind)[1]
            assert question.roles["key"] == spans_by_hand(text, *key, kind)[1]
            end = 0 if first_answer_token else 1
            assert question.roles["value"] == spans_by_hand(text, *places[second], kind)[end]
            mine = record["queries"][0]["roles"]["mine"]
            assert question.roles["mine"] == spans_by_hand(text, *mine, kind)[1]
        expected = text.split() if kind == "whitespace" else list(text.encode())
        assert document.symbols == expected
