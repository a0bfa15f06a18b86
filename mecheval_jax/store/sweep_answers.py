"""Answers of a sweep's members, document by document, for comparisons between members.

Members on the same documents succeed and fail together (`statistics.crossed`). Each group has an
``answers.npz``, unless it was trained by a version that did not write one.
"""

import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mecheval_jax.evaluation.accuracy import counts_of, names_of
from mecheval_jax.files import read_arrays, write_arrays
from mecheval_jax.statistics.crossed import Answers
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.scoring import AnswerScores

FIELDS = ("correct", "asked", "names")


def answers_of_member(answers: AnswerScores, batch: Batch) -> Answers:
    """The answers of one member."""
    right, asked = counts_of(answers, batch)
    return Answers(right[None], asked[None], names_of(batch)[None])


def write_answers(path: pathlib.Path, members: Mapping[int, Answers]) -> None:
    """Write the answers of a group's members, by their numbers."""
    arrays = {
        name: np.concatenate([getattr(one, name) for one in members.values()]) for name in FIELDS
    }
    write_arrays(path, {"members": np.array(list(members)), **arrays})


def read_answers(paths: Iterable[pathlib.Path]) -> dict[int, Answers]:
    """Answers by the number of the member, from those files that exist.

    Raises:
        UserError: If a file is damaged.
    """
    found = {}
    for path in paths:
        if not path.exists():
            continue
        remedy = "remove it, and intervals are those of members alone"
        arrays = read_arrays(path, remedy, (*FIELDS, "members"))
        for place, number in enumerate(arrays["members"].tolist()):
            found[number] = Answers(*(arrays[name][place : place + 1] for name in FIELDS))
    return found


def together(members: Sequence[int], known: Mapping[int, Answers]) -> Answers | None:
    """Answers of several members; None if some are unknown, or numbers of documents differ."""
    ones = [known[number] for number in members if number in known]
    if len(ones) < len(members) or len({one.correct.shape for one in ones}) > 1:
        return None
    return Answers(*(np.concatenate([getattr(one, name) for one in ones]) for name in FIELDS))
