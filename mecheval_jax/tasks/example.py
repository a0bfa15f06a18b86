"""An example document of a task: its words, the roles of its tokens, and its questions."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mecheval_jax.tasks.base import UNMARKED, Batch, Task


@dataclass(frozen=True)
class ExampleQuestion:
    """A query of a document.

    Attributes:
        number: Number of the query in its document.
        position: Position at which the answer is predicted.
        asked: Word at that position.
        answer: Right answer.
    """

    number: int
    position: int
    asked: str
    answer: str


@dataclass(frozen=True)
class Example:
    """A document in words.

    Attributes:
        words: Names of the tokens.
        roles: Roles of each token in the first query, by the token's position.
        questions: Queries that count, the first one at the front.
    """

    words: tuple[str, ...]
    roles: Mapping[int, tuple[str, ...]]
    questions: tuple[ExampleQuestion, ...]

    def place(self, role: str) -> int | None:
        """Position of the token in a role; None if there is none."""
        return next((at for at, roles in self.roles.items() if role in roles), None)


def shown_roles(task: Task) -> list[str]:
    """The roles that are marked in documents of a task."""
    return [role for role in task.role_names if role not in UNMARKED]


def example(task: Task, batch: Batch, index: int) -> Example:
    """One document of a batch in words.

    Args:
        task: Task that gives the words.
        batch: Documents of the task.
        index: Index of the document in the batch.
    """
    # As arrays of numpy, since JAX would compile a program for each index.
    tokens, weights, positions, targets = (
        np.asarray(part)[index]
        for part in (batch.tokens, batch.weights, batch.query_positions, batch.targets)
    )
    roles: dict[int, tuple[str, ...]] = {}
    for role in shown_roles(task):
        position = int(np.asarray(batch.roles[role])[index, 0])
        if position >= 0:
            roles[position] = (*roles.get(position, ()), role)
    questions = []
    for query in (0, *map(int, np.flatnonzero(weights)[1:])):
        position = int(positions[query])
        asked, answer = int(tokens[position]), int(targets[query])
        questions.append(
            ExampleQuestion(query, position, task.name_of(asked), task.name_of(answer))
        )
    length = int(np.asarray(batch.lengths)[index])
    words = tuple(task.name_of(int(token)) for token in tokens[:length])
    return Example(words, roles, tuple(questions))
