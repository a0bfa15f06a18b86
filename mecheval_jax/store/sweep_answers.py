"""Answers of a sweep's members, document by document, for comparisons between members.

Members on the same documents succeed and fail together (`statistics.crossed`). Each group has an
``answers.npz``, unless it was trained by a version that did not write one.
"""

import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mecheval_jax.evaluation.accuracy import counts_of, names_of
from mecheval_jax.files import damaged, read_arrays, write_arrays
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
        if wrong := _wrong_in(arrays):
            raise damaged(path, wrong, remedy)
        for place, number in enumerate(arrays["members"].tolist()):
            found[number] = Answers(*(arrays[name][place : place + 1] for name in FIELDS))
    return found


def _wrong_in(arrays: Mapping[str, np.ndarray]) -> str | None:
    """What is wrong with the arrays of a file, whose answers are then nobody's; else None."""
    shapes = {name: arrays[name].shape for name in FIELDS}
    if len(set(shapes.values())) > 1 or arrays["correct"].ndim != 2:
        return f"its arrays are {shapes}, and not all of one shape [member, document]"
    if arrays["members"].shape != arrays["correct"].shape[:1]:
        return f"it has {len(arrays['correct'])} members, and numbers {arrays['members'].tolist()}"
    for name in (*FIELDS, "members"):
        kind = np.integer if name == "members" else np.number
        if not np.issubdtype(arrays[name].dtype, kind) or not np.isfinite(arrays[name]).all():
            takes = "whole numbers" if name == "members" else "finite numbers"
            return f"{name} holds {arrays[name].dtype}: it takes {takes}"
    if (arrays["asked"].sum(axis=1) <= 0).any():
        return "a member has no answers"
    return None


def together(members: Sequence[int], known: Mapping[int, Answers]) -> Answers | None:
    """Answers of several members; None if some are unknown, or numbers of documents differ."""
    ones = [known[number] for number in members if number in known]
    if len(ones) < len(members) or len({one.correct.shape for one in ones}) > 1:
        return None
    return Answers(*(np.concatenate([getattr(one, name) for one in ones]) for name in FIELDS))
