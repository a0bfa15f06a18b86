"""The pass over a document file: all bad lines by number, answers without a token, splits."""

import json
import random

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
        (line().encode("utf-16-be"), "text in UTF-16"),
    ],
)
def test_a_file_of_another_form(tmp_path, content, form):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        Documents(str(path))
    assert str(caught.value) == f"{path} is {form}: give one JSON object a line, in UTF-8"
