"""A checked file of documents, one per line, whose documents are read when they are drawn.

In memory are the vocabulary and, for each document, the offset of its line, its length and its
split, 13 bytes. A file may therefore be larger than memory.
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
    """A checked file: the result of `scan.scan`.

    Attributes:
        path: Path of the file.
        line_format: Reader of its lines.
        offsets: Offset of the line of each document, in bytes.
        lengths: Number of tokens of each document, without bos and eos.
        splits: Index in `SPLITS` of the split of each document.
        vocabulary: Vocabulary of the train documents and their answers.
        queries: Greatest number of queries of a document.
        last_query: Last position of any query, bos not counted.
        role_names: ``key``, ``value`` and named roles that some query has, in this order.
        without: Number of the first line whose first query lacks ``key`` or ``value``, by role;
            a role that no first query lacks is left out.
        answers: Symbols that answer some train query.
        classes: Symbols that stand at ``key`` and ``value`` in train documents, by role.
        repeated: Number of lines that were left out, since an earlier one has the same tokens
            and queries.
        unclear: Number of documents of each split, in the order of `SPLITS`, of which nothing
            tells the asked key of the first query from another token: both are unknown.
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
    repeated: int
    unclear: tuple[int, ...]

    def remarks(self) -> tuple[str, ...]:
        """What is odd about the documents, each as a sentence."""
        found = []
        if self.repeated:
            found.append(
                f"{self.path}: {self.repeated:,} line{'s' * (self.repeated > 1)} with the tokens "
                "and queries of an earlier one left out"
            )
        counts = zip(SPLITS, self.unclear, strict=True)
        found += [self.unclear_keys(split) for split, count in counts if count]
        return tuple(found)

    def unclear_keys(self, split: str) -> str:
        """A sentence on the documents of a split that `unclear` counts."""
        i = SPLITS.index(split)
        return (
            f"{self.path}: in {self.unclear[i]:,} of {(self.splits == i).sum():,} {split} "
            "documents the asked key is an unknown token, and so is another token before the "
            "query: nothing tells them apart"
        )

    def of_split(self, split: str) -> Int[np.ndarray, " documents_of_split"]:
        """Numbers of the documents of a split.

        Raises:
            UserError: If the split is unknown or has no documents.
        """
        chosen = np.flatnonzero(self.splits == SPLITS.index(choose("split", split, SPLITS)))
        if not len(chosen):
            raise UserError(without_split(self.path, split, self.splits))
        return chosen

    def read(self, numbers: Int[np.ndarray, " chosen"]) -> list[Document]:
        """Read documents by number.

        Raises:
            UserError: If the file has changed since it was scanned.
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
    """Message about a file that has no documents in a split."""
    sizes = ", ".join(f"{name} {(splits == i).sum()}" for i, name in enumerate(SPLITS))
    return (
        f"{path} has no documents in split {split!r} ({sizes}): it needs more documents, or "
        "other task.dev and task.test"
    )
