"""Document files: empty splits, files that change, memory."""

import json
import pathlib
import tracemalloc

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.documents import documents as documents_module
from mecheval_jax.tasks.documents.documents import Documents
from tests.support.document_lines import line, many, write


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
        ({"path": ""}, "task.path is empty: the path of a file of JSON lines"),
        ({"tokenizer": "nope.json"}, "task.tokenizer nope.json: there is no such file"),
    ],
)
def test_fields_that_cannot_be(tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        Documents(**({"path": write(tmp_path, line())} | values))


@pytest.mark.parametrize(
    ("long", "where"),
    [
        ([24], "line 26 has 3,007 tokens, and the longest of the others 7:"),
        ([24, 7], "2 documents are far longer than most: line 26 has 3,007 tokens, and"),
    ],
)
def test_a_document_that_is_far_longer_is_told(tmp_path, capsys, long, where):
    """Catches hours of padding for one line of which nobody was told, and a wrong number of it
    after a line that is empty."""
    lines = list(many(30))
    for number, further in zip(long, (3000, 2000), strict=False):
        record = json.loads(lines[number])
        lines[number] = json.dumps(record | {"text": record["text"] + " on" * further})
    task = Documents(write(tmp_path, lines[0], "", *lines[1:]))
    (told,) = task.far_longer()
    assert where in told
    assert told in task.remarks()
    said = capsys.readouterr()
    assert told in " ".join((said.out + said.err).split())


def test_documents_of_many_lengths_are_not_far_longer(tmp_path):
    """Catches a warning for every file whose longest document is twice as long as most."""
    lines = [json.loads(one) for one in many(30)]
    mixed = [
        json.dumps(one | {"text": one["text"] + " on" * number}) for number, one in enumerate(lines)
    ]
    assert Documents(write(tmp_path, *mixed)).far_longer() == ()


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


@pytest.mark.parametrize(
    ("change", "where"),
    [
        # As long as before, and of the same form: another answer, and a document of another split.
        (lambda lines: [*lines[:6], lines[6].replace("Oslo", "Bonn"), *lines[7:]], "line 8 is"),
        (lambda lines: [lines[0].replace("n0", "n7"), *lines[1:]], "line 1 is"),
        (lambda lines: [*lines[:28], lines[29], lines[28]], "line 30 is"),
        (lambda lines: lines[:20], "it ends before line 22"),
        (lambda lines: ["x"] * 2000, "line 1 is"),
    ],
)
@pytest.mark.parametrize("kept", [0, 4_000_000])
def test_a_file_that_changes_under_the_task(tmp_path, monkeypatch, change, where, kept):
    """Catches documents read at offsets that are no longer theirs, other documents of the same
    length that are taken for those that were checked, and a line number that passes over lines
    which are empty."""
    monkeypatch.setattr(documents_module, "KEPT_TOKENS", kept)
    lines = list(many(30))
    task = Documents(write(tmp_path, lines[0], "", *lines[1:]), dev=0.0, test=0.0)
    changed = change(lines)
    write(tmp_path, changed[0], *[""] * (changed[0] != "x"), *changed[1:])
    with pytest.raises(UserError) as caught:
        task.draw(jax.random.key(0), 30, "train")
    assert f"{task.path} was changed while it was in use ({where}" in str(caught.value)


def test_a_file_that_only_grows(tmp_path, monkeypatch):
    """Catches a run that ends since somebody adds documents, none of which it reads."""
    monkeypatch.setattr(documents_module, "KEPT_TOKENS", 0)
    task = Documents(write(tmp_path, *many(30)), dev=0.0, test=0.0)
    before = task.draw(jax.random.key(0), 30, "train")
    write(tmp_path, *many(40))
    after = task.draw(jax.random.key(0), 30, "train")
    np.testing.assert_array_equal(before.tokens, after.tokens)


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
