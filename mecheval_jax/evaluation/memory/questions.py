"""Documents with questions about several pairs, asked one at a time."""

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Int
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.memory.sizes import resized
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.tasks.base import ABSENT, PAIR, Batch, Task
from mecheval_jax.training.data import evaluation_batch


def asked_pairs(subject: Subject, pairs: int, documents: int) -> Batch:
    """Documents of the subject's task that ask for at least this many pairs, each about another.

    Passes are written once where the task has several. A key that a task binds twice (forgetting
    recall) is asked all the same: its last pair is meant. In documents of one's own a pair may be
    asked twice, and a question be about none.

    Args:
        subject: Model and its task, which may ask fewer questions.
        pairs: Least number of questions, the first of each document, about as many pairs.
        documents: Greatest number of documents; those whose first questions are about fewer pairs
            are left out of them.

    Raises:
        UserError: If the task cannot ask several pairs, each by its key's token.
    """
    task, evaluation = task_asking(subject, pairs), subject.evaluation
    count = min(documents, evaluation.documents)
    batch = evaluation_batch(task, subject.data_seed, count, evaluation.split)
    if batch.weights.shape[1] < pairs:
        raise UserError(f"no {pairs} pairs to ask for: documents of this task ask fewer")
    asked = jnp.take_along_axis(batch.tokens, batch.query_positions, axis=1)[:, :pairs]
    named = jnp.take_along_axis(batch.tokens, batch.roles["key"], axis=1)[:, :pairs]
    places = [np.asarray(batch.roles[role])[:, :pairs] != ABSENT for role in PAIR]
    is_asked = (np.asarray(batch.weights)[:, :pairs] > 0) & places[0] & places[1]
    several = [len({*row}) == pairs for row in np.asarray(named).tolist()]
    enough = is_asked.all(axis=1) & np.array(several, bool)
    if not enough.any():
        raise UserError(
            f"no {pairs} pairs to ask for: the first {pairs} questions of each document are about "
            "fewer"
        )
    batch, asked, named = jax.tree.map(lambda leaf: leaf[enough], (batch, asked, named))
    if getattr(task, "question", 1) > 1 or not bool((asked == named).all()):
        raise UserError("pairs cannot be asked one by one: a question is not the key's token alone")
    return batch


def task_asking(subject: Subject, pairs: int) -> Task:
    """The subject's task, with questions about so many pairs and each written once, if it can be.

    Raises:
        UserError: If documents have no pairs, or fewer.
    """
    task = subject.task
    check_pairs(task)
    # A pair that is written several times cannot be changed at one place.
    wanted = {"queries": max(pairs, getattr(task, "queries", 0)), "num_passes": 1}
    changes = {name: value for name, value in wanted.items() if getattr(task, name, value) != value}
    if not changes:
        return task
    try:
        return resized(task, changes, subject.config)
    except UserError as error:
        raise UserError(f"documents cannot ask for {pairs} pairs, one by one: {error}") from None


def check_pairs(task: Task) -> None:
    """Check that documents have pairs that can be asked.

    Raises:
        UserError: If they have no role of a pair.
    """
    for role in PAIR:
        if role not in task.role_names:
            raise UserError(f"no pairs to ask for: the task has no role {role!r}")


def asking(batch: Batch, number: int) -> Batch:
    """The same documents, with the question of a given number in the place of the first to come.

    Tokens behind that question stay as they were, since they are not read. Which question comes
    first in a document need not be that of number 0, before which others would stand.
    """
    documents = jnp.arange(len(batch.tokens))
    token = batch.tokens[documents, batch.query_positions[:, number]]
    asked = jnp.where(batch.weights > 0, batch.query_positions, batch.tokens.shape[1])
    first = asked.argmin(axis=1)[:, None]

    def of_first(positions: Int[Array, "batch queries"]) -> Int[Array, "batch 1"]:
        return jnp.take_along_axis(positions, first, axis=1)

    place = of_first(batch.query_positions)
    tokens = batch.tokens.at[documents, place[:, 0]].set(token)
    here = {name: batch.roles[name] for name in ("divider", "query") if name in batch.roles}
    roles = {name: at[:, number : number + 1] for name, at in batch.roles.items()}
    return batch.replace(
        tokens=tokens,
        query_positions=place,
        targets=batch.targets[:, number : number + 1],
        weights=batch.weights[:, number : number + 1],
        roles=roles | {name: of_first(at) for name, at in here.items()},
    )
