"""A file of documents, one a line: checked whole before anything is computed, read when drawn.

One pass reads every line and keeps of each document where it begins, how long it is and its
split, 13 bytes, beside the vocabulary; all bad lines are reported together. Documents are read
again, by their offset, when they are drawn: a file may be larger than memory.

The split of a document is a function of its content alone, its text or ids: u = BLAKE2b(content)
as a number of [0, 1) is ``test`` below `test`, ``dev`` below `test` + `dev`, else ``train``. The
order of lines does not matter, and a document that stands in a file twice is in one split.
"""

import array
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from mecheval_jax.array_types import Int
from mecheval_jax.errors import UserError, choose
from mecheval_jax.tasks.base import SPLITS
from mecheval_jax.tasks.document_line import PAIR, BadLine, Document, LineFormat
from mecheval_jax.tasks.tokenizers import Symbol, Vocabulary

SHOWN = 50
"""Bad lines that a message lists."""

TRAIN = SPLITS.index("train")


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
        common_roles: those that every document's first query has.
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
    common_roles: frozenset[str]
    answers: frozenset[Symbol]
    classes: dict[str, frozenset[Symbol]]

    def of_split(self, split: str) -> Int[np.ndarray, " documents_of_split"]:
        """Numbers of the documents of a split.

        Raises:
            UserError: an unknown split, or one without documents.
        """
        chosen = np.flatnonzero(self.splits == SPLITS.index(choose("split", split, SPLITS)))
        if not len(chosen):
            raise UserError(_empty(self.path, split, self.splits))
        return chosen

    def read(self, numbers: Iterable[int]) -> list[Document]:
        """Documents by number.

        Raises:
            UserError: the file is no longer what it was.
        """
        documents = []
        with _open(self.path) as file:
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


def sha256_of(paths: Iterable[pathlib.Path]) -> str:
    """Hash of the bytes of files, one after another.

    Raises:
        UserError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        with _open(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def scan(
    path: pathlib.Path, line_format: LineFormat, dev: float = 0.1, test: float = 0.1
) -> DocumentFile:
    """Read and check a whole file.

    Args:
        path: of the file; empty lines are passed over.
        line_format: how lines are read.
        dev, test: shares of these splits.

    Raises:
        UserError: no such file, no documents in it, no train documents, or bad lines, with the
            number and the reasons of each.
    """
    scanner = _Scanner(line_format, dev, test)
    offset = 0
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                scanner.add(number, offset, line)
            offset += len(line)
    return scanner.finish(path)


class _Scanner:
    """The state of a pass."""

    def __init__(self, line_format: LineFormat, dev: float, test: float):
        self._format, self._bounds = line_format, (test, test + dev)
        self._offsets, self._lengths = array.array("q"), array.array("i")
        self._splits = array.array("b")
        self._symbols: set[Symbol] = set()
        self._answers: set[Symbol] = set()
        # Lines of dev and test by an answer that no train document had so far.
        self._strange: dict[Symbol, array.array] = {}
        self._classes: dict[str, set[Symbol]] = {role: set() for role in PAIR}
        self._roles: set[str] = set()
        self._common: set[str] | None = None
        self._queries = self._last_query = 0
        self._bad: list[tuple[int, str]] = []
        self._bad_count = 0

    def add(self, number: int, offset: int, line: bytes) -> None:
        """One line."""
        try:
            document = self._format.read(line)
        except BadLine as error:
            self._bad_count += 1
            if len(self._bad) < SHOWN:
                self._bad.append((number, str(error)))
            return
        split = self._split_of(document.content)
        self._offsets.append(offset)
        self._lengths.append(len(document.symbols))
        self._splits.append(split)
        self._note_questions(document)
        if split == TRAIN:
            self._fit(document)
            return
        for question in document.questions:
            if question.answer not in self._symbols:
                lines = self._strange.setdefault(question.answer, array.array("q"))
                lines.append(number)

    def _split_of(self, content: bytes) -> int:
        digest = hashlib.blake2b(content, digest_size=8).digest()
        u = int.from_bytes(digest, "big") / 2.0**64
        test, dev = self._bounds
        return SPLITS.index("test" if u < test else "dev" if u < dev else "train")

    def _note_questions(self, document: Document) -> None:
        questions = document.questions
        first = set(questions[0].roles)
        self._common = first if self._common is None else self._common & first
        self._roles.update(*(question.roles for question in questions))
        self._queries = max(self._queries, len(questions))
        self._last_query = max(self._last_query, *(q.position for q in questions), 0)

    def _fit(self, document: Document) -> None:
        """Take what a train document has into the vocabulary and the classes."""
        self._symbols.update(document.symbols)
        for question in document.questions:
            self._symbols.add(question.answer)
            self._answers.add(question.answer)
            for role, symbols in self._classes.items():
                if role in question.roles:
                    symbols.add(document.symbols[question.roles[role]])

    def finish(self, path: pathlib.Path) -> DocumentFile:
        """What the pass found, or what is wrong."""
        splits = np.array(self._splits, np.int8)
        if not len(splits) and not self._bad:
            raise UserError(f"{path} has no documents")
        has_train = bool((splits == TRAIN).any())
        # Without train documents every answer would be a strange one.
        self._report_bad_lines(path, self._strange_answers() if has_train else {})
        if not has_train:
            raise UserError(_empty(path, "train", splits))
        return DocumentFile(
            path=path,
            line_format=self._format,
            offsets=np.array(self._offsets, np.int64),
            lengths=np.array(self._lengths, np.int32),
            splits=splits,
            vocabulary=Vocabulary(self._symbols),
            queries=self._queries,
            last_query=self._last_query,
            role_names=tuple(sorted(self._roles, key=lambda name: (name not in PAIR, name))),
            common_roles=frozenset(self._common or ()),
            answers=frozenset(self._answers),
            classes={role: frozenset(symbols) for role, symbols in self._classes.items()},
        )

    def _strange_answers(self) -> dict[int, list[str]]:
        """Answers that no train document has, by line."""
        strange: dict[int, list[str]] = {}
        for symbol, lines in self._strange.items():
            if symbol not in self._symbols:
                name = self._format.tokenizer.name_of(symbol)
                for line in lines:
                    strange.setdefault(line, []).append(repr(name))
        return strange

    def _report_bad_lines(self, path: pathlib.Path, strange: dict[int, list[str]]) -> None:
        count = self._bad_count + len(strange)
        if not count:
            return
        bad = [
            (line, f"answers outside the vocabulary of the train documents: {', '.join(names)}")
            for line, names in strange.items()
        ]
        bad = sorted(self._bad + bad)[:SHOWN]
        lines = [f"  line {number}: {reasons}" for number, reasons in bad]
        if count > len(bad):
            lines.append(f"  and {count - len(bad)} more")
        plural = "s" if count > 1 else ""
        raise UserError("\n".join([f"{path} has {count} bad line{plural}:", *lines]))


def _empty(path: pathlib.Path, split: str, splits: np.ndarray) -> str:
    sizes = ", ".join(f"{name} {(splits == i).sum()}" for i, name in enumerate(SPLITS))
    return (
        f"{path} has no documents in split {split!r} ({sizes}): it needs more documents, or "
        "other task.dev and task.test"
    )


def _open(path: pathlib.Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"task.path {path} cannot be read: {error.strerror}") from None
