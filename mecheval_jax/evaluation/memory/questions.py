"""Documents with questions about several pairs, asked one at a time."""

import jax.numpy as jnp

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.memory.sizes import resized
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.tasks.geometry import PAIR
from mecheval_jax.training.data import evaluation_batch


def asked_pairs(subject: Subject, pairs: int, documents: int) -> Batch:
    """Documents of the subject's task with questions about at least this many pairs.

    Args:
        subject: Model and its task, which may ask fewer questions.
        pairs: Least number of questions.
        documents: Greatest number of documents.

    Raises:
        UserError: If the task cannot ask several pairs, each by its key's token.
    """
    task, evaluation = task_asking(subject, pairs), subject.evaluation
    count = min(documents, evaluation.documents)
    batch = evaluation_batch(task, subject.data_seed, count, evaluation.split)
    asked = jnp.take_along_axis(batch.tokens, batch.query_positions, axis=1)[:, :pairs]
    keys = jnp.take_along_axis(batch.tokens, jnp.maximum(batch.roles["key"], 0), axis=1)[:, :pairs]
    if asked.shape[1] < pairs or not bool((batch.weights[:, :pairs] > 0).all()):
        raise UserError(f"no {pairs} pairs to ask for: documents of this task ask fewer")
    if getattr(task, "question", 1) > 1 or not bool((asked == keys).all()):
        raise UserError("pairs cannot be asked one by one: a question is not the key's token alone")
    return batch


def task_asking(subject: Subject, pairs: int) -> Task:
    """The subject's task, with questions about at least this many pairs where it can have them.

    Raises:
        UserError: If documents have no pairs, or fewer.
    """
    task = subject.task
    check_pairs(task)
    if getattr(task, "queries", pairs) >= pairs:
        return task
    try:
        return resized(task, {"queries": pairs}, subject.config)
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
    """The same documents, with the question of a given number in the place of the first.

    Tokens behind the first question stay as they were, since they are not read.
    """
    documents = jnp.arange(len(batch.tokens))
    token = batch.tokens[documents, batch.query_positions[:, number]]
    tokens = batch.tokens.at[documents, batch.query_positions[:, 0]].set(token)
    here = {name: batch.roles[name] for name in ("divider", "query") if name in batch.roles}
    roles = {name: at[:, number : number + 1] for name, at in batch.roles.items()}
    return batch.replace(
        tokens=tokens,
        query_positions=batch.query_positions[:, :1],
        targets=batch.targets[:, number : number + 1],
        weights=batch.weights[:, number : number + 1],
        roles=roles | {name: at[:, :1] for name, at in here.items()},
    )
