"""What a plain reader of a task's documents finds, and what a task is tested with."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

PAD, BOS, EOS, FIRST = 0, 1, 2, 3
ABSENT = -1


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a reader finds.

    Attributes:
        answer: the token that is asked for.
        roles: position of each role, `ABSENT` where there is none.
        properties: numbers by which accuracy is sliced.
        repeated: positions at which a corruption replaces tokens, where they are not the role's
            own.
    """

    answer: int
    roles: dict[str, int]
    properties: dict[str, int]
    repeated: dict[str, set[int]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Case:
    """A task under test.

    Attributes:
        task: a small instance.
        read: (task, tokens up to the query, length of the document, number of the query) -> what
            is there.
        classes: for every corruption, ids that can be put in.
        answers: ids that can be the answer; chance is a uniform guess among them.
        floors: (batch, readings) -> floors, counted; None for those of recall.
    """

    task: Any
    read: Callable[[Any, list[int], int, int], Reading]
    classes: dict[str, Sequence[int]]
    answers: Sequence[int]
    floors: Callable[..., dict[str, float]] | None = None


def after(value: int, key: int, stop: int) -> dict[str, int]:
    """The two roles behind the value."""
    found = {"next_key": value + 1, "value+2": value + 2}
    return {name: ABSENT if at >= stop or at == key else at for name, at in found.items()}
