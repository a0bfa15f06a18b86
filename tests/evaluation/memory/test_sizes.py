"""Documents of other sizes: which can be, and that a model's answers to them are its own."""

import dataclasses

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.accuracy import answer_all
from mecheval_jax.evaluation.memory.sizes import (
    answers_to,
    changes_of,
    documents_of_sizes,
    of_size,
    resized,
    size_of,
)
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.tasks.synthetic.compression import Compression
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from tests.support.planted_memory import lively
from tests.support.task_cases import CASES, OWN

RECALL = AssociativeRecall(pairs=4, min_pairs=2, key_vocabulary=9, value_vocabulary=9, queries=2)
MANY = MultiQueryRecall(vocabulary=100, lengths=(16, 64), pairs=(2, 8))
MODEL = ModelConfig("gla", 1, 16, 21, 24)


# Catches a size that stays a range, and more questions than pairs.
def test_the_size_of_a_task():
    assert size_of(RECALL) == ("pairs", 4)
    assert of_size(RECALL, 1) == {"pairs": 1, "min_pairs": None, "queries": 1}
    assert size_of(MANY) == ("pairs", 8)
    assert of_size(MANY, 3) == {"pairs": (3,), "lengths": (24,)}
    # The longest documents need not be those of most pairs.
    sparse = dataclasses.replace(MANY, lengths=(64, 32))
    assert of_size(sparse, 8) == {"pairs": (8,), "lengths": (32,)}
    assert of_size(sparse, 4) == {"pairs": (4,), "lengths": (16,)}
    assert size_of(Compression()) == ("length", 16)
    with pytest.raises(
        UserError, match=r"Treecall has no field with the size of its documents \(pairs, length"
    ):
        size_of(CASES["treecall"].task)


# Catches documents that the model has no tokens or no room for, and a misspelt field.
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("pairs=9+queries=2+min_pairs=None", r"documents of 25 tokens, and model.max_length is 24"),
        ("pairs=10", r"task\.key_vocabulary is 9: 10 pairs need at least 10 tokens"),
        ("key_vocabulary=8", r"task\.key_vocabulary=8: 20 tokens, and .* trained on 21"),
        ("pairs", r"'pairs' is no setting: give field=value"),
        ("pair=4", r"'pair' \(did you mean 'pairs'\?\)"),
        ("pairs=four", r"pairs is 'four': it takes a whole number"),
    ],
)
def test_settings_that_cannot_be(setting, message):
    with pytest.raises(UserError, match=message):
        resized(RECALL, changes_of(setting, RECALL), MODEL)


# Catches the type of a value that happens to be there, taken for that of the field.
def test_settings_of_what_is_none_now():
    task = dataclasses.replace(RECALL, min_pairs=None)
    assert changes_of("pairs=6+min_pairs=4", task) == {"pairs": 6, "min_pairs": 4}


# Catches a list that is read as a text.
def test_settings_of_lists():
    assert changes_of("lengths=32/64+pairs=4/8", MANY) == {"lengths": (32, 64), "pairs": (4, 8)}


# Catches a file's folders that are read as a list.
def test_settings_of_paths():
    task = OWN
    assert changes_of(f"path={task.path}", task) == {"path": task.path}
    assert "/" in task.path


# Catches answers that change with the padding behind a document, or with those beside it.
def test_padding_changes_no_answer():
    subject = lively("gla")
    subject = dataclasses.replace(subject, batch=documents_of_sizes(subject, [subject.task])[0])
    longer = resized(subject.task, of_size(subject.task, 6), subject.config)
    same, padded = documents_of_sizes(subject, [subject.task, longer])
    assert same.tokens.shape == padded.tokens.shape
    expected = answer_all(subject)
    queries = expected.loss.shape[1]
    found = answers_to(subject, same)
    np.testing.assert_allclose(found.loss[:, :queries], expected.loss, rtol=2e-4, atol=1e-5)
    assert (np.asarray(same.weights)[:, queries:] == 0).all()


@pytest.mark.parametrize(
    ("setting", "message"),
    [("check=1", "'check': valid are"), ("pairs=2+pairs=3", "gives pairs twice")],
)
def test_settings_of_what_is_no_field(setting, message):
    """Catches a method that is called as if it were a type, and a value that is dropped."""
    with pytest.raises(UserError, match=message):
        changes_of(setting, AssociativeRecall(pairs=4))
