"""A checked file of documents, one per line, whose documents are read when they are drawn.

In memory are the vocabulary and, for each document, the offset and a hash of its line, its length
and its split, 21 bytes. A file may therefore be larger than memory.

The hash tells a file that was made anew since: of lines of the same length other documents would
be read, those of a test split among them.
"""

import dataclasses
import hashlib
import pathlib
from typing import BinaryIO

import numpy as np

from mecheval_jax.array_types import Int
from mecheval_jax.errors import UserError, choose
from mecheval_jax.files import open_file
from mecheval_jax.tasks.base import SPLITS
from mecheval_jax.tasks.documents.line import Document, LineFormat
from mecheval_jax.tasks.documents.tokenizers import Symbol, Vocabulary

FAR = 8
"""By how many times more tokens than three quarters of the documents one is far longer."""


@dataclasses.dataclass(frozen=True, eq=False)
class DocumentFile:
    """A checked file: the result of `scan.scan`.

    Attributes:
        path: Path of the file.
        line_format: Reader of its lines.
        offsets: Offset of the line of each document, in bytes.
        hashes: Hash of that line, by `hash_of_line`.
        lengths: Number of tokens of each document, without bos and eos.
        splits: Index in `SPLITS` of the split of each document.
        vocabulary: Vocabulary of the train documents and their answers.
        queries: Greatest number of queries of a document.
        last_query: Last position of any query, bos not counted.
        key_tokens: Greatest number of tokens of a key.
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
    hashes: Int[np.ndarray, " documents"]
    lengths: Int[np.ndarray, " documents"]
    splits: Int[np.ndarray, " documents"]
    vocabulary: Vocabulary
    queries: int
    last_query: int
    key_tokens: int
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
        return (*found, *self.far_longer())

    def far_longer(self) -> tuple[str, ...]:
        """A sentence on documents that are far longer than most others; nothing without any.

        Tokens are counted with bos and eos. The file is read again up to the longest.
        """
        sizes = self.lengths + 2
        far = sizes > FAR * np.quantile(sizes, 0.75)
        if not far.any():
            return ()
        longest, count = int(sizes.argmax()), int(far.sum())
        where = f"line {self._line_of(longest)} has {sizes[longest]:,} tokens"
        if count > 1:
            where = f"{count:,} documents are far longer than most: {where}"
        return (
            f"{self.path}: {where}, and the longest of the others {sizes[~far].max():,}: documents "
            f"that are computed beside {'them' if count > 1 else 'it'} are padded to that length",
        )

    def _line_of(self, number: int) -> int:
        """Number of the line of a document, from 1."""
        end, line, offset = 0, 1, int(self.offsets[number])
        with open_file(self.path) as file:
            while end < offset and (passed := file.readline(offset - end)):
                end, line = end + len(passed), line + 1
        return line

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
                line = file.readline()
                if hash_of_line(line) != self.hashes[number]:
                    raise UserError(self._changed(file))
                documents.append(self.line_format.read(line))
        return documents

    def _changed(self, file: BinaryIO) -> str:
        """Message that names the first document whose line is not the one that was scanned.

        The file is read again up to it. Lines that are no document are counted as they are now.

        Args:
            file: The file, open.
        """
        end, number = 0, 0
        where = "by now all lines are again as they were"
        file.seek(0)
        for offset, wanted in zip(self.offsets.tolist(), self.hashes.tolist(), strict=True):
            while end < offset and (passed := file.readline(offset - end)):
                end, number = end + len(passed), number + 1
            line = file.readline()
            end, number = end + len(line), number + 1
            if hash_of_line(line) != wanted:
                where = f"line {number} is another" if line else f"it ends before line {number}"
                break
        return (
            f"{self.path} was changed while it was in use ({where}): put back what was there, or "
            "use the new documents in another workdir"
        )


def hash_of_line(line: bytes) -> int:
    """A number for the bytes of a line, of 64 bits."""
    return int.from_bytes(hashlib.blake2b(line, digest_size=8).digest(), "big", signed=True)


def without_split(path: pathlib.Path, split: str, splits: Int[np.ndarray, " documents"]) -> str:
    """Message about a file that has no documents in a split."""
    sizes = ", ".join(f"{name} {(splits == i).sum()}" for i, name in enumerate(SPLITS))
    return (
        f"{path} has no documents in split {split!r} ({sizes}): it needs more documents, or "
        "other task.dev and task.test"
    )
