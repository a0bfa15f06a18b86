"""A file of documents, one a line, that has been checked; documents are read when drawn.

Of each document is kept where its line begins, how long it is and its split, 13 bytes, beside
the vocabulary: a file may be larger than memory.
"""

import dataclasses
import pathlib

import numpy as np

from mecheval_jax.array_types import Int
from mecheval_jax.errors import UserError, choose
from mecheval_jax.files import open_file
from mecheval_jax.tasks.base import SPLITS
from mecheval_jax.tasks.documents.line import BadLine, Document, LineFormat
from mecheval_jax.tasks.documents.tokenizers import Symbol, Vocabulary


@dataclasses.dataclass(frozen=True, eq=False)
class DocumentFile:
    """What a pass over a file leaves.

    Attributes:
        path: of the file.
        line_format: how its lines are read.
        offsets: where each document's line begins.
        lengths: tokens of each, without bos and eos.
        splits: number of each one's split in `SPLITS`.
        vocabulary: of the train documents and their answers.
        queries: of the document with most.
        last_query: the last position of a query, without bos.
        role_names: key, value and the named roles that some query has, in order.
        without: the first line whose first query lacks the role, by those of key and value
            that not all first queries have.
        answers: symbols that answer a train query.
        classes: for key and value, the symbols that stand there in train documents.
    """

    path: pathlib.Path
    line_format: LineFormat
    offsets: Int[np.ndarray, " documents"]
    lengths: Int[np.ndarray, " documents"]
    splits: Int[np.ndarray, " documents"]
    vocabulary: Vocabulary
    queries: int
    last_query: int
    role_names: tuple[str, ...]
    without: dict[str, int]
    answers: frozenset[Symbol]
    classes: dict[str, frozenset[Symbol]]

    def of_split(self, split: str) -> Int[np.ndarray, " documents_of_split"]:
        """Numbers of the documents of a split.

        Raises:
            UserError: an unknown split, or one without documents.
        """
        chosen = np.flatnonzero(self.splits == SPLITS.index(choose("split", split, SPLITS)))
        if not len(chosen):
            raise UserError(without_split(self.path, split, self.splits))
        return chosen

    def read(self, numbers: Int[np.ndarray, " chosen"]) -> list[Document]:
        """Documents by number.

        Raises:
            UserError: the file is no longer what it was.
        """
        documents = []
        with open_file(self.path) as file:
            for number in numbers:
                file.seek(int(self.offsets[number]))
                try:
                    document = self.line_format.read(file.readline())
                except BadLine:
                    document = None
                if document is None or len(document.symbols) != self.lengths[number]:
                    raise UserError(f"{self.path} was changed while it was in use")
                documents.append(document)
        return documents


def without_split(path: pathlib.Path, split: str, splits: Int[np.ndarray, " documents"]) -> str:
    """What to say of a file that has no documents in a split."""
    sizes = ", ".join(f"{name} {(splits == i).sum()}" for i, name in enumerate(SPLITS))
    return (
        f"{path} has no documents in split {split!r} ({sizes}): it needs more documents, or "
        "other task.dev and task.test"
    )
