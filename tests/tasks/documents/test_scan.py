"""The pass over a document file: all bad lines by number, answers without a token, splits."""

import gzip
import json
import random

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.documents.documents import Documents
from tests.support.document_lines import GOOD, TEXT, line, many, splits_of, write


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


def test_lines_that_are_too_long_are_reported_with_the_others(tmp_path):
    """Catches a second message, about the limit, once all else of the file is mended."""
    long = json.loads(line(answer=[2, 3]))
    both = json.dumps({**long, "text": f"{long['text']} x x"})
    path = write(
        tmp_path, "{", line(), json.dumps({**json.loads(line()), "text": f"{TEXT} x"}), both
    )
    with pytest.raises(UserError) as caught:
        Documents(path, max_length=11, dev=0.0, test=0.0)
    head, *rest = str(caught.value).splitlines()
    assert head == f"{path} has 3 bad lines:"
    assert [text.split(":")[0].strip() for text in rest] == ["line 1", "line 3", "line 4"]
    assert "has 12 tokens with bos and eos: task.max_length is 11" in rest[1]
    assert "has 13 tokens" in rest[2]
    assert "query 0: answer [2, 3]" in rest[2]


# Catches a message of a million lines, a count that forgets those that are not shown, and lines
# that are not shown and not named either.
def test_many_bad_lines_are_counted(tmp_path):
    def bad(number):  # each with a reason of its own
        return line(key=[900 + number, 1])

    many_bad = [*map(bad, range(60)), line(), bad(60), line(), *map(bad, range(61, 123))]
    with pytest.raises(UserError) as caught:
        Documents(write(tmp_path, *many_bad))
    head, *shown, last = str(caught.value).splitlines()
    assert "123 bad lines" in head
    assert len(shown) == 50
    assert last.strip() == "and 73 more: lines 51-60, 62, 64-125"
    with pytest.raises(UserError, match=r"and 1150 more: lines 101, .*, 499, \.\.\. 2399$"):
        Documents(write(tmp_path, *(text for i in range(1200) for text in (bad(i), line()))))


def test_lines_with_the_same_reason_are_told_once(tmp_path):
    """Catches one reason that is printed fifty times, and the other that is then not shown."""
    with pytest.raises(UserError) as caught:
        Documents(write(tmp_path, *["{"] * 60, line(), "{", line(), *["{"] * 62, "[]"))
    head, first, second = str(caught.value).splitlines()
    assert "124 bad lines" in head
    assert first.startswith("  123 lines, 1-60, 62, 64-125: is no JSON")
    assert second == "  line 126: is no JSON object"
    with pytest.raises(UserError, match=r"\n  1200 lines, 1, 3, .*, 19, \.\.\. 2399: is no JSON:"):
        Documents(write(tmp_path, *["{", line()] * 1200))


def test_a_line_without_a_pair_is_told_before_training(tmp_path, capsys):
    """Catches a file whose missing key is told by the intervention, after hours of training."""
    lines = list(many(60))
    other = json.loads(lines[7])
    del other["queries"][0]["key"]
    path = write(tmp_path, *lines[:7], json.dumps(other), *lines[8:])
    (remark,) = Documents(path, dev=0.2, test=0.3).remarks()
    assert remark.startswith(f"{path}: the first query of line 8 has no 'key': ")
    assert remark in capsys.readouterr().err


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
    with pytest.raises(
        UserError, match=f"line {at + 1}: answers outside.*'Atlantis'\n.*hash of its words"
    ):
        Documents(write(tmp_path, *lines))


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
        if i >= len(lines):
            del record["queries"][0]["key"]  # the same words, asked in another way
        shuffled[i] = json.dumps(record, indent=None, sort_keys=True)
    again = Documents(write(tmp_path, *shuffled), dev=0.1, test=0.3)
    assert [of_text[json.loads(x)["text"]] for x in shuffled] == splits_of(again)
    for split, share in (("train", 0.6), ("dev", 0.1), ("test", 0.3)):
        spread = 5 * np.sqrt(share * (1 - share) / 600)
        assert abs(splits.count(split) / 600 - share) < spread
    assert task.sizes() == {name: splits.count(name) for name in ("train", "dev", "test")}


def test_a_file_without_documents(tmp_path):
    with pytest.raises(UserError, match="has no documents"):
        Documents(write(tmp_path, "", " "))


# Catches fifty lines of errors for a table that was given in the place of JSON lines.
def test_a_file_that_is_no_json_lines(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("text,answer\n" + "a b,c\n" * 60)
    with pytest.raises(UserError) as caught:
        Documents(str(path))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: no line is JSON (line 1 is no JSON: Expecting value")


# Catches a hundred bad lines for a file that is another format as a whole.
@pytest.mark.parametrize(
    ("content", "form"),
    [
        (json.dumps([json.loads(line())] * 3, indent=1).encode(), "a JSON array"),
        (b" \n[" + line().encode() + b"]", "a JSON array"),
        (line().encode("utf-16"), "text in UTF-16"),
        (
            line().encode("utf-16-be"),
            "no text in UTF-8, since it has zero bytes (compressed, binary, or UTF-16)",
        ),
        (gzip.compress(line().encode()), "compressed by gzip"),
        ('{"text": "Łódź"}'.encode("iso-8859-2"), "not UTF-8 (byte 11 of line 1)"),
        (b"\n" + line().encode() + b'\n{"text": "caf\xe9"}', "not UTF-8 (byte 14 of line 3)"),
        (bytes(range(200, 256)), "not UTF-8 (byte 1 of line 1)"),
    ],
)
def test_a_file_of_another_form(tmp_path, content, form):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        Documents(str(path))
    assert str(caught.value) == f"{path} is {form}: give one JSON object a line, in UTF-8"


def test_lines_that_repeat_others_are_left_out(tmp_path, capsys):
    """Catches ten copies of a document that are drawn as ten, and other questions about the same
    words that are taken for copies."""
    lines = list(many(60))
    other = json.loads(lines[7])
    del other["queries"][0]["key"]
    spaced = json.loads(lines[5])
    spaced["text"] += "  "
    spaced["queries"][0] = dict(reversed(spaced["queries"][0].items()))
    path = write(tmp_path, *lines * 10, json.dumps(other), json.dumps(spaced))
    task = Documents(path, dev=0.2, test=0.3)
    assert sum(task.sizes().values()) == 61
    (remark, lacking) = task.remarks()
    assert "line 601 has no 'key'" in lacking
    assert remark == f"{path}: 541 lines with the tokens and queries of an earlier one left out"
    assert remark in capsys.readouterr().err
    drawn = task.draw(jax.random.key(0), task.sizes()["train"], "train")
    words = [drawn[i : i + 1].tokens.tobytes() for i in range(len(drawn))]
    assert len(set(words)) >= len(words) - 1
    assert Documents(write(tmp_path, *lines), dev=0.2, test=0.3).remarks() == ()


def two_orders(folder, count, new, alone=False):
    """Documents of two orders, one asked; in every `new`-th both have numbers that no other has.

    With `alone` only the asked one has.
    """
    records = []
    for i in range(count):
        asked, other = (1000 + 2 * i, 1001 + 2 * i) if i % new == 0 else (1, 2)
        orders = [(asked, 10), (2 if alone else other, 11)]
        queries = [{"query": 6, "answer": 10, "key": 1 if i % 2 else 3}]
        (a, to_a), (b, to_b) = orders if i % 2 else orders[::-1]
        tokens = [20 + i % 9, a, to_a, b, to_b, 30 + i // 9, asked]
        records.append({"id": i, "tokens": tokens, "queries": queries})
    return records, write(folder, *map(json.dumps, records))


def test_keys_that_are_all_unknown(tmp_path, capsys):
    """Catches test documents whose keys are one and the same token to the model, so that nothing
    tells which is asked: refused where most are, said where some are."""
    of_ids = {"tokenizer": "ids", "dev": 0.0, "test": 0.3}
    _, path = two_orders(tmp_path, 300, new=1)
    with pytest.raises(UserError, match=r"in (\d+) of \1 test documents the asked key is an unk"):
        Documents(path, **of_ids)
    records, path = two_orders(tmp_path, 300, new=5)
    task = Documents(path, **of_ids)
    splits = zip(records, splits_of(task), strict=True)
    test = [one["id"] % 5 == 0 for one, split in splits if split == "test"]
    assert sum(test) > 5
    remark, _ = task.remarks()  # the other one: no line has a value
    assert f"in {sum(test)} of {len(test)} test documents the asked key is an unknown" in remark
    assert remark in capsys.readouterr().err
    _, path = two_orders(tmp_path, 300, new=1, alone=True)
    (lacking,) = Documents(path, **of_ids).remarks()
    assert "no 'value'" in lacking
