"""Answers of a sweep's members, document by document."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.accuracy import names_of
from mecheval_jax.files import write_arrays
from mecheval_jax.store.sweep_answers import (
    answers_of_member,
    read_answers,
    together,
    write_answers,
)
from mecheval_jax.tasks.scoring import AnswerScores
from tests.support import planted


def member(seed):
    """Answers of a member whose documents are of a seed; those of even index are right."""
    batch = planted.documents(planted.TASK, 6, seed)
    right = (np.arange(6) % 2 == 0).astype(np.float32)[:, None]
    return answers_of_member(AnswerScores(right, right, right, right), batch)


def test_answers_are_kept_by_number_and_document(tmp_path):
    """Catches members mixed up between groups, and documents told apart by their place."""
    write_answers(tmp_path / "a.npz", {4: member(0), 7: member(1)})
    write_answers(tmp_path / "b.npz", {5: member(0)})
    known = read_answers([tmp_path / "a.npz", tmp_path / "b.npz", tmp_path / "none.npz"])
    assert sorted(known) == [4, 5, 7]
    answers = dict(zip(known[4].names[0].tolist(), known[4].correct[0].tolist(), strict=True))
    in_order = [answers[name] for name in names_of(planted.documents(planted.TASK, 6, 0)).tolist()]
    assert in_order == [1, 0, 1, 0, 1, 0]
    assert known[4].asked.sum() == 6
    np.testing.assert_array_equal(known[4].names, known[5].names)
    assert (known[4].names != known[7].names).all()
    assert together([4, 5], known).correct.shape == (2, 6)
    assert together([4, 6], known) is None


def test_a_damaged_file_is_named(tmp_path):
    """Catches a traceback of NumPy."""
    (tmp_path / "a.npz").write_text("nothing")
    with pytest.raises(UserError, match=r"a.npz is damaged: it is no archive of arrays; remove it"):
        read_answers([tmp_path / "a.npz"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": np.array(3)}, r"it has 2 members, and numbers 3"),
        ({"members": np.array([0.5, 1])}, r"members holds float64"),
        ({"names": np.arange(3)}, r"not all of one shape \[member, document\]"),
        ({"asked": np.ones((2, 2))}, r"'asked': \(2, 2\)"),
        ({"correct": np.full((2, 3), "a")}, r"correct holds <U1"),
        ({"asked": np.zeros((2, 3))}, r"a member has no answers"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, change, message):
    """Catches a traceback, and answers that are counted without documents or by halves."""
    whole = {name: np.ones((2, 3)) for name in ("correct", "asked")}
    whole |= {"members": np.arange(2), "names": np.arange(6).reshape(2, 3)}
    write_arrays(tmp_path / "a.npz", whole | change)
    with pytest.raises(UserError, match=r"a.npz is damaged: .*" + message):
        read_answers([tmp_path / "a.npz"])
