"""A config that is fitted to a file of documents."""

import json

import pytest

from configs import documents as config
from mecheval_jax.errors import UserError
from mecheval_jax.selection.documents import TARGET, fitted, without_the_longest
from tests.support import document_lines, small


def sections_of(path, **task):
    sections = config.get_config().to_dict()
    sections["task"] |= {"path": str(path), **task}
    return sections


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "documents.jsonl"
    file.write_text("\n".join(document_lines.many(300)))
    return file


def test_evaluations_take_what_there_is(path):
    """Catches a small file refused for the config's numbers, and documents counted twice."""
    found = fitted(sections_of(path))
    sizes = found.task.sizes()
    assert found.evaluation.documents == sizes["test"] < 320
    assert found.training.evaluation_documents == sizes["dev"] < 256
    assert found.training.target_accuracy == TARGET
    assert found.training.evaluate_every == 100
    assert found.training.checkpoint_every == 300


def test_what_the_config_says_stands(path):
    """Catches an early end in place of the one that was asked for."""
    sections = sections_of(path)
    sections["training"] |= {"target_accuracy": 0.8, "evaluate_every": 7}
    found = fitted(sections)
    assert found.training.target_accuracy == 0.8
    assert found.training.evaluate_every == 7


def test_long_documents_have_longer_models(tmp_path):
    """Catches a file of long documents refused."""
    lines = list(document_lines.many(300))
    first = json.loads(lines[0])
    long = json.dumps(first | {"text": first["text"] + " on" * 1500})
    (tmp_path / "long.jsonl").write_text("\n".join([long, *lines]))
    found = fitted(sections_of(tmp_path / "long.jsonl"))
    assert found.model.max_length == found.task.max_length > 1500


def test_few_long_documents_are_named_where_time_is_short(tmp_path):
    """Catches a refusal that names steps and widths where one line of the file is the reason."""
    lines = list(document_lines.many(300))
    assert (
        without_the_longest(fitted(sections_of(document_lines.write(tmp_path, *lines))).task) == ""
    )
    first = json.loads(lines[0])
    lines[-1] = json.dumps(first | {"text": first["text"] + " on" * 1500})
    task = fitted(sections_of(document_lines.write(tmp_path, *lines))).task
    assert "a step takes less (" in without_the_longest(task)
    assert "line 300 has 1,507 tokens, and the longest of the others 7" in without_the_longest(task)
    assert without_the_longest(small.experiment().task) == ""


def test_documents_without_pairs_are_taken(tmp_path):
    """Catches a file refused for roles that the config names and nobody needs to give."""
    file = tmp_path / "questions.jsonl"
    with file.open("w") as out:
        for line in document_lines.many(300):
            record = json.loads(line)
            record["queries"] = [
                {name: query[name] for name in ("query", "answer")} for query in record["queries"]
            ]
            out.write(json.dumps(record) + "\n")
    found = fitted(sections_of(file))
    assert found.evaluation.roles == ("query",)
    assert found.task.corruptions == ()


@pytest.mark.parametrize(
    ("task", "message"),
    [({"tokeniser": "bytes"}, "unknown field of task 'tokeniser'"), ({"dev": "a lot"}, "task.dev")],
)
def test_a_wrong_field_of_the_task(path, task, message):
    """Catches a traceback for what other programs say in a line."""
    with pytest.raises(UserError, match=message):
        fitted(sections_of(path, **task))


def test_a_refusal_asks_for_enough(tmp_path):
    """Catches a number of documents with which every second file is refused again."""
    file = tmp_path / "few.jsonl"
    file.write_text("\n".join(document_lines.many(30)))
    with pytest.raises(UserError, match="dev and test need 20 each: about 300 in all"):
        fitted(sections_of(file))


@pytest.mark.parametrize(("lines", "task"), [(30, {}), (300, {"dev": 0.0})])
def test_too_few_documents(lines, task, tmp_path):
    """Catches verdicts that are refused after the training, and a message without numbers."""
    file = tmp_path / "few.jsonl"
    file.write_text("\n".join(document_lines.many(lines)))
    with pytest.raises(UserError, match=r"too few documents for three splits \(train \d+, dev \d"):
        fitted(sections_of(file, **task))
