"""Document files: every mistake by line and reason, places of tokens, splits, memory."""

import importlib.util
import json
import pathlib
import random
import re
import sys
import tracemalloc

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.documents import documents as documents_module
from mecheval_jax.tasks.documents.documents import Documents
from mecheval_jax.tasks.documents.line import BadLine, LineFormat
from mecheval_jax.tasks.documents.tokenizers import Bytes, Ids, Tokens, Whitespace, tokenizer_of
from tests.support.compilation import ROOT

TEXT = "order B7 to Oslo , paid . B7 Oslo"
GOOD = {"query": [26, 28], "answer": [29, 33], "key": [6, 8], "value": [12, 16]}


def line(text=TEXT, **changes):
    return json.dumps({"text": text, "queries": [{**GOOD, **changes}]})


def without(field):
    return json.dumps({"text": TEXT, "queries": [{k: v for k, v in GOOD.items() if k != field}]})


def ids(**changes):
    record = {"tokens": [5, 6, 7, 8], "query": 2, "answer": 8, "key": 0, "value": 1} | changes
    return json.dumps({"tokens": record.pop("tokens"), "queries": [record]})


def write(folder, *lines):
    path = folder / "documents.jsonl"
    path.write_bytes(b"".join((x if isinstance(x, bytes) else x.encode()) + b"\n" for x in lines))
    return str(path)


MISTAKES = {
    "json": ("{'text'", r"is no JSON: "),
    "utf8": (b'{"text": "\xff"}', r"is no JSON: "),
    "deep": ("[" * 100_000, r"is no JSON: "),
    "object": ("[1]", "is no JSON object"),
    "no_text": ('{"queries": []}', "has no field 'text'"),
    "ids_instead": (ids(), "has no field 'text'.*'ids'"),
    "text_type": ('{"text": 3}', "'text' that is no string: 3"),
    "surrogate": ('{"text": "a \\ud800"}', "half of a surrogate pair"),
    "blank": ('{"text": "  "}', "'text' without tokens"),
    "no_queries": ('{"text": "a"}', "no list 'queries'"),
    "empty_queries": ('{"text": "a", "queries": []}', "at least one query"),
    "query_type": ('{"text": "a", "queries": [3]}', "query 0: is no JSON object: 3"),
    "missing_query": (without("query"), "query 0: has no field 'query'"),
    "missing_answer": (without("answer"), "query 0: has no field 'answer'"),
    "unknown_field": (line(vlaue=[1, 2]), "'vlaue' .did you mean 'value'"),
    "outside": (line(key=[6, 99]), r"key \[6, 99\] lies outside the text of 33 characters"),
    "negative": (line(value=[-3, 2]), r"value \[-3, 2\] lies outside"),
    "empty": (line(key=[8, 8]), r"key \[8, 8\] is empty"),
    "backwards": (line(key=[8, 6]), r"key \[8, 6\] is empty"),
    "no_span": (line(key=[6]), r"key is no span \[start, stop\]: \[6\]"),
    "not_whole": (line(key=[6.0, 8]), "key is no span"),
    "boolean": (line(key=[True, 8]), "key is no span"),
    "space": (line(key=[8, 9]), r"key \[8, 9\] holds no token: ' '"),
    "cut": (line(key=[7, 8]), r"key \[7, 8\] cuts the token 'B7'"),
    "cut_end": (line(answer=[29, 31]), r"answer \[29, 31\] cuts the token 'Oslo'"),
    "overlap": (line(value=[6, 11]), r"key \[6, 8\] and value \[6, 11\] overlap"),
    "overlap_query": (line(key=[24, 28]), r"query \[26, 28\] and key \[24, 28\] overlap"),
    "after": (line(key=[29, 33]), r"key \[29, 33\] comes after the query"),
    "answer_before": (line(answer=[12, 16]), "does not come after the query.*as a string"),
    "answer_empty": (line(answer=" "), "answer ' ' holds no token"),
    "answer_surrogate": (line(answer="\ud800"), "half of a surrogate pair"),
    "split": (line(answer="Oslo East"), "2 tokens .'Oslo', 'East'.: task.first_answer_token=True"),
    "roles_type": (line(roles=[1]), "roles are no JSON object"),
    "reserved": (line(roles={"next_key": [0, 5]}), "role 'next_key' has a name with a meaning"),
    "role_span": (line(roles={"mine": [0, 500]}), r"role 'mine' \[0, 500\] lies outside"),
    "long": (line(TEXT + " x x"), "has 13 tokens with bos and eos: task.max_length is 11"),
}
OF_IDS = {
    "no_tokens": (line(), "has no field 'tokens'"),
    "tokens_type": ('{"tokens": [1, "a"]}', "no list of whole numbers"),
    "tokens_empty": ('{"tokens": []}', "has no tokens"),
    "negative": (ids(tokens=[5, 6, -7, 8]), "negative token id -7"),
    "outside": (ids(key=4), "key 4 lies outside the document of 4 tokens"),
    "index": (ids(key=[0, 1]), r"key is no index of a token: \[0, 1\]"),
    "answer": (ids(answer="8"), "answer '8' is no token id"),
    "negative_answer": (ids(answer=-1), "answer -1 is no token id"),
    "overlap": (ids(value=0), "key 0 and value 0 overlap"),
    "after": (ids(value=3), "value 3 comes after the query 2"),
}


# Catches a mistake that passes, that ends in a traceback, or whose message does not say it.
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_a_line(name):
    bad, message = MISTAKES[name]
    bad = bad if isinstance(bad, bytes) else bad.encode()
    with pytest.raises(BadLine, match=message):
        LineFormat(Whitespace(), of_ids=False, max_length=11).read(bad)


@pytest.mark.parametrize("name", OF_IDS)
def test_mistakes_in_a_line_of_ids(name):
    bad, message = OF_IDS[name]
    with pytest.raises(BadLine, match=message):
        LineFormat(Ids(), of_ids=True).read(bad.encode())


# Catches a good line that is refused.
def test_good_lines_are_read():
    assert LineFormat(Whitespace(), of_ids=False, max_length=11).read(line().encode())
    assert LineFormat(Ids(), of_ids=True).read(ids().encode())


# Catches a report that stops at the first bad line or query, counts lines wrongly (empty ones
# count), or lists a line twice.
def test_all_bad_lines_are_reported_together(tmp_path):
    two = json.dumps({"text": TEXT, "queries": [{**GOOD, "key": [8, 8]}, GOOD, {"query": [0, 5]}]})
    path = write(tmp_path, line(), "", "{", line(), two, line(key=[7, 8]))
    with pytest.raises(UserError) as caught:
        Documents(path, dev=0.0, test=0.0)
    head, *rest = str(caught.value).splitlines()
    assert head == f"{path} has 3 bad lines:"
    assert [text.split(":")[0].strip() for text in rest] == ["line 3", "line 5", "line 6"]
    assert "query 0: key [8, 8] is empty; query 2: has no field 'answer'" in rest[1]


# Catches a report that stops at the first mistake of a query.
def test_all_mistakes_of_a_line_are_reported_together():
    bad = line(TEXT + " x x", vlaue=[1, 2], key=[8, 8], value=[0, 99], roles={"bos": [0, 1]})
    with pytest.raises(BadLine) as caught:
        LineFormat(Whitespace(), of_ids=False, max_length=11).read(bad.encode())
    said = ("13 tokens", "'vlaue'", "key .* empty", "value .* outside", "role 'bos'")
    assert len(caught.value.reasons) == len(said)
    for reason, words in zip(caught.value.reasons, said, strict=True):
        assert re.search(words, reason)


# Catches a message of a million lines, a count that forgets those that are not shown, and lines
# that are not shown and not named either.
def test_many_bad_lines_are_counted(tmp_path):
    with pytest.raises(UserError) as caught:
        Documents(write(tmp_path, *["{"] * 60, line(), "{", line(), *["{"] * 62))
    head, *shown, last = str(caught.value).splitlines()
    assert "123 bad lines" in head
    assert len(shown) == 50
    assert last.strip() == "and 73 more: lines 51-60, 62, 64-125"
    with pytest.raises(UserError, match=r"and 1150 more: lines 101, .*, 499, \.\.\. 2399$"):
        Documents(write(tmp_path, *["{", line()] * 1200))


# Catches an answer called strange because the line that would have brought it is bad.
def test_no_strange_answers_beside_bad_lines(tmp_path):
    lines = list(many(60))
    splits = splits_of(Documents(write(tmp_path, *lines)))
    records = [json.loads(text) for text in lines]
    odd = splits.index("test")
    records[odd]["queries"][0]["answer"] = "Atlantis"
    del records[odd]["queries"][0]["value"]
    records[splits.index("train")]["queries"][0]["key"] = [0, 0]
    with pytest.raises(UserError, match=r"has 1 bad line:\n.*empty$"):
        Documents(write(tmp_path, *map(json.dumps, records)))


# Catches a value whose token the model cannot be right to copy, and a message without a way out.
def test_a_value_that_is_not_the_answer():
    class Spaced(Whitespace):
        """A word has the space before it in its token."""

        def encode(self, text):
            words = list(re.finditer(r" ?\S+", text))
            return Tokens(
                [word.group() for word in words],
                [word.start() for word in words],
                [word.end() for word in words],
            )

    form = LineFormat(Spaced(), of_ids=False, value_is_answer=True)
    with pytest.raises(BadLine, match=r"token is ' Oslo' and the answer's 'Oslo': write.*' Oslo'"):
        form.read(line(answer="Oslo").encode())
    for answer in ([29, 33], " Oslo"):
        assert form.read(line(answer=answer).encode())
    form = LineFormat(Ids(), of_ids=True, value_is_answer=True)
    with pytest.raises(BadLine, match=r"token is '6' and the answer's '8': take task.value_is"):
        form.read(ids().encode())


def many(count, words=("Oslo", "Lima", "Rome")):
    """Lines that differ in their first word."""
    for i in range(count):
        city = words[i % len(words)]
        text = f"n{i} B7 {city} . B7"
        at = text.index("B7")
        yield json.dumps(
            {
                "text": text,
                "queries": [
                    {
                        "query": [len(text) - 2, len(text)],
                        "answer": city,
                        "key": [at, at + 2],
                        "value": [at + 3, at + 3 + len(city)],
                    }
                ],
            }
        )


# Catches an answer that becomes the unknown token in silence, wherever in the file it stands.
@pytest.mark.parametrize("place", ["first", "last"])
def test_answers_outside_the_vocabulary(tmp_path, place):
    lines = list(many(60))
    splits = splits_of(Documents(write(tmp_path, *lines)))
    odd = next(i for i, split in enumerate(splits) if split == "test")
    strange = json.loads(lines.pop(odd))
    strange["queries"][0]["answer"] = "Atlantis"
    del strange["queries"][0]["value"]
    at = 0 if place == "first" else len(lines)
    lines.insert(at, json.dumps(strange))
    with pytest.raises(UserError, match=f"line {at + 1}: answers outside.*'Atlantis'"):
        Documents(write(tmp_path, *lines))


def splits_of(task):
    names = np.array(["train", "dev", "test"])
    return list(names[task._file.splits])


# Catches a split by line number, one that a query's change moves, twins in two splits, and
# shares that are not what is asked for.
def test_splits_are_of_the_content(tmp_path):
    lines = list(many(600))
    task = Documents(write(tmp_path, *lines), dev=0.1, test=0.3)
    splits = splits_of(task)
    of_text = dict(zip((json.loads(x)["text"] for x in lines), splits, strict=True))
    shuffled = random.Random(0).sample(lines, len(lines)) + lines[:50]
    for i, text in enumerate(shuffled):
        record = json.loads(text)
        record["queries"][0]["roles"] = {"mine": [0, 2]} if record["text"][2] == " " else {}
        shuffled[i] = json.dumps(record, indent=None, sort_keys=True)
    again = Documents(write(tmp_path, *shuffled), dev=0.1, test=0.3)
    assert [of_text[json.loads(x)["text"]] for x in shuffled] == splits_of(again)
    for split, share in (("train", 0.6), ("dev", 0.1), ("test", 0.3)):
        spread = 5 * np.sqrt(share * (1 - share) / 600)
        assert abs(splits.count(split) / 600 - share) < spread
    assert task.sizes() == {name: splits.count(name) for name in ("train", "dev", "test")}


# Catches an empty split that gives empty batches, or a message that does not say the sizes.
def test_empty_splits(tmp_path):
    task = Documents(write(tmp_path, *many(4)), dev=0.0, test=0.0)
    with pytest.raises(UserError, match=r"split 'dev' \(train 4, dev 0, test 0\)"):
        task.sample(jax.random.key(0), 2, "dev")
    with pytest.raises(UserError, match=r"'tests'.*'test'"):
        task.sample(jax.random.key(0), 2, "tests")
    with pytest.raises(UserError, match="split 'train'"):
        Documents(write(tmp_path, line()), dev=0.0, test=0.999999)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dev": 1.0}, "dev is 1.0"),
        ({"test": -0.1}, "test is -0.1"),
        ({"dev": 0.5, "test": 0.5}, "no train documents"),
        ({"max_length": -1}, "max_length is -1"),
        ({"max_length": 8}, "has 11 tokens"),
        ({"tokenizer": "whitspace"}, "'whitspace'.*'whitespace'"),
        ({"sha256": "0" * 64}, "not what it was"),
        ({"path": "nowhere.jsonl"}, "nowhere.jsonl cannot be read"),
        ({"path": "tests"}, "tests cannot be read"),
    ],
)
def test_fields_that_cannot_be(tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        Documents(**({"path": write(tmp_path, line())} | values))


def test_a_file_without_documents(tmp_path):
    with pytest.raises(UserError, match="has no documents"):
        Documents(write(tmp_path, "", " "))


# Catches a run that goes on with another file, and a field that changes what it checks.
def test_a_changed_file_is_refused(tmp_path):
    lines = list(many(30))
    first = Documents(write(tmp_path, *lines))
    again = Documents(first.path, max_length=first.max_length, sha256=first.sha256)
    assert again == first
    with open(first.path, "a") as file:
        file.write(lines[0].replace("n0", "n77") + "\n")
    with pytest.raises(UserError, match="not what it was for this config"):
        Documents(first.path, sha256=first.sha256)


def test_a_file_that_changes_under_the_task(tmp_path, monkeypatch):
    """Catches documents read at offsets that are no longer theirs."""
    monkeypatch.setattr(documents_module, "KEPT_TOKENS", 0)
    task = Documents(write(tmp_path, *many(30)))
    pathlib.Path(task.path).write_text("x\n" * 2000)
    with pytest.raises(UserError, match="changed while it was in use"):
        task.draw(jax.random.key(0), 4, "train")


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


# Catches an answer of several tokens whose last one is scored.
def test_first_answer_token():
    form = LineFormat(Bytes(), of_ids=False, first_answer_token=True)
    for answer in ([29, 33], "Oslo"):
        (question,) = form.read(line(answer=answer).encode()).questions
        assert question.answer == ord("O")
        assert question.answer_position == (29 if answer != "Oslo" else None)
    with pytest.raises(BadLine, match=r"4 tokens .'O', 's', 'l', 'o'."):
        LineFormat(Bytes(), of_ids=False).read(line().encode())


# Catches a reader that keeps the documents: the file is many times what is kept.
def test_memory_stays_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(documents_module, "KEPT_TOKENS", 0)
    padding = " ".join(f"w{i}" * 80 for i in range(40))  # few tokens, which are slow to trace
    lines = []
    for record in map(json.loads, many(200)):
        record["text"] = record["text"].replace(" . ", f" {padding} . ")
        size = len(record["text"])
        record["queries"][0]["query"] = [size - 2, size]
        lines.append(json.dumps(record))
    small = Documents(write(tmp_path, *many(20)))
    small.draw(jax.random.key(0), 8, "train")  # what jax and numpy keep is none of the file's
    path = write(tmp_path, *lines)
    size = pathlib.Path(path).stat().st_size
    assert size > 1_700_000
    del lines
    tracemalloc.start()
    task = Documents(path)
    task.draw(jax.random.key(0), 8, "train")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 4
    assert sum(task.sizes().values()) == 200


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
    task_file = write(tmp_path, json.dumps(record))
    task = Documents(task_file, tokenizer=str(path), dev=0.0, test=0.0)
    assert task.sha256 != Documents(task_file, dev=0.0, test=0.0).sha256
    with pytest.raises(UserError, match="cannot be read"):
        tokenizer_of(write_bad_tokenizer(tmp_path))


def write_bad_tokenizer(folder):
    path = folder / "bad.json"
    path.write_text("{}")
    return str(path)


def test_the_documented_lines_are_read():
    """Catches a format reference that the reader refuses, or a span in it that is off."""
    text = (ROOT / "docs/documents.md").read_text()
    blocks = re.findall(r"^```json\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    forms = (LineFormat(Whitespace(), of_ids=False), LineFormat(Ids(), of_ids=True))
    for block, form in zip(blocks, forms, strict=True):
        for row in block.splitlines():
            document = form.read(row.encode())
            (question,) = document.questions
            assert document.symbols[question.position] == document.symbols[question.roles["key"]]
            assert document.symbols[question.roles["value"]] == question.answer
