"""The pass over a file of documents that checks every line before training starts.

All bad lines are reported together. The result is a `DocumentFile`.

The split of a document is a function of its content alone, its tokens (words, bytes, ids). With u =
BLAKE2b(content) as a number of [0, 1), it is ``test`` if u < test, else ``dev`` if u < test + dev,
else ``train``. The order of lines does not matter, and copies of a document are in the same split.
"""

import array
import codecs
import functools
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mecheval_jax.console import say
from mecheval_jax.errors import UserError, counted
from mecheval_jax.files import open_file
from mecheval_jax.tasks.base import PAIR, SPLITS
from mecheval_jax.tasks.documents.file import DocumentFile, hash_of_line, without_split
from mecheval_jax.tasks.documents.line import NO_JSON, BadLine, Document, LineFormat
from mecheval_jax.tasks.documents.tokenizers import IDS, Symbol, Vocabulary, tokenizer_of

SHOWN = 50
"""Greatest number of reasons for which lines are bad that a message lists."""

GZIP = b"\x1f\x8b"
"""First bytes of a file that is compressed by gzip."""

RANGES, ALIKE = 200, 10
"""Greatest numbers of ranges that a message lists: of further bad lines, and of one reason."""

STRANGE = "answers outside the vocabulary of the train documents"
"""Beginning of what is said of a line of dev or test with such answers."""

TRAIN = SPLITS.index("train")


def scan(path: pathlib.Path, line_format: LineFormat, shares: Mapping[str, float]) -> DocumentFile:
    """Read and check a whole file.

    Args:
        path: Path of the file; empty lines are ignored.
        line_format: Reader of lines.
        shares: Shares of the documents in ``dev`` and ``test``; the rest are ``train``.

    Raises:
        UserError: If the file cannot be read, has no documents or no train documents, or has
            bad lines; the message has the number and the mistakes of each.
    """
    scanner = _Scanner(line_format, shares)
    offset = 0
    with open_file(path) as file:
        _check_form(path, file.read(64))
        file.seek(0)
        for number, line in enumerate(file, 1):
            if line.strip():
                _check_code(path, number, line)
                scanner.add(number, offset, line)
            offset += len(line)
    file = scanner.finish(path)
    for remark in remarks_on(file):
        say(remark)
    return file


def remarks_on(file: DocumentFile) -> tuple[str, ...]:
    """What is odd about documents that can be trained on, each as a sentence.

    Those without a pair are said before any training, since no verdict can follow it.
    """
    lacking = [
        f"{file.path}: the first query of line {line} has no {role!r}: training goes without, and "
        f"interventions there, and a verdict, need a {role!r} in every line's first query"
        for role, line in file.without.items()
    ]
    return (*file.remarks(), *lacking)


def _check_form(path: pathlib.Path, head: bytes) -> None:
    """Raise UserError if the first bytes of a file are those of another format as a whole."""
    form = "a JSON array" if head.lstrip().startswith(b"[") else None
    if head.startswith(GZIP):
        form = "compressed by gzip"
    elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        form = "text in UTF-16"
    elif b"\0" in head:
        form = "no text in UTF-8, since it has zero bytes (compressed, binary, or UTF-16)"
    if form:
        raise _other_form(path, form)


def _check_code(path: pathlib.Path, number: int, line: bytes) -> None:
    """Raise UserError if a line is in another code than UTF-8, which its whole file has then."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        form = f"not UTF-8 (byte {error.start + 1} of line {number})"
        raise _other_form(path, form) from None


def _other_form(path: pathlib.Path, form: str) -> UserError:
    return UserError(f"{path} is {form}: give one JSON object a line, in UTF-8")


@functools.lru_cache(maxsize=4)
def scanned(
    path: str, tokenizer: str, shares: tuple[float, float], sha256: str, **options: Any
) -> DocumentFile:
    """`scan`, cached: a file is read once for the same arguments and the same bytes.

    Args:
        path: Path of the file.
        tokenizer: Name of the tokenizer, or path of a ``tokenizer.json``.
        shares: Shares of the documents in ``dev`` and ``test``.
        sha256: Hash of the files, which identifies their bytes.
        **options: Other fields of `LineFormat`.
    """
    del sha256  # a key of the cache only
    line_format = LineFormat(tokenizer_of(tokenizer), tokenizer == IDS, **options)
    return scan(pathlib.Path(path), line_format, dict(zip(("dev", "test"), shares, strict=True)))


class _Scanner:
    """Accumulator of a pass over the lines of a file."""

    def __init__(self, line_format: LineFormat, shares: Mapping[str, float]):
        self._format = line_format
        self._bounds = (shares["test"], shares["test"] + shares["dev"])
        self._offsets, self._lengths = array.array("q"), array.array("i")
        self._splits, self._hashes = array.array("b"), array.array("q")
        self._symbols: set[Symbol] = set()
        self._answers: set[Symbol] = set()
        # Lines of dev and test, by answers that no train document had so far.
        self._strange: dict[Symbol, array.array] = {}
        self._classes: dict[str, set[Symbol]] = {role: set() for role in PAIR}
        self._roles: set[str] = set()
        self._without: dict[str, int] = {}
        self._queries = self._last_query = self._key_tokens = 0
        self._names = array.array("Q")  # hashes that tell documents with their queries apart
        self._unclear = array.array("q")  # documents by number
        # Of documents of dev and test whose asked key no train document had so far: number, key,
        # and the other symbols before the query that none had.
        self._doubtful: list[tuple[int, Symbol, frozenset[Symbol]]] = []
        self._bad: dict[str, array.array] = {}  # numbers of lines by reason
        self._further = array.array("q")  # bad lines that are not shown

    def add(self, number: int, offset: int, line: bytes) -> None:
        """Read one line.

        Args:
            number: Number of the line, from 1.
            offset: Offset of the line in the file, in bytes.
            line: Bytes of the line.
        """
        try:
            document = self._format.read(line)
        except BadLine as error:
            self._refuse(number, str(error))
            return
        split = self._split_of(document.content)
        self._names.append(_name_of(document))
        self._note_key(len(self._splits), document, split)
        self._offsets.append(offset)
        self._hashes.append(hash_of_line(line))
        self._lengths.append(len(document.symbols))
        self._splits.append(split)
        self._note_questions(number, document)
        if split == TRAIN:
            self._fit(document)
            return
        for question in document.questions:
            if question.answer not in self._symbols:
                lines = self._strange.setdefault(question.answer, array.array("q"))
                lines.append(number)

    def _refuse(self, number: int, reason: str) -> None:
        """Record a bad line: under its reason, or where there are too many of them as one more."""
        if reason in self._bad or len(self._bad) < SHOWN:
            self._bad.setdefault(reason, array.array("q")).append(number)
        else:
            self._further.append(number)

    def _split_of(self, content: bytes) -> int:
        digest = hashlib.blake2b(content, digest_size=8).digest()
        u = int.from_bytes(digest, "big") / 2.0**64
        test, dev = self._bounds
        return SPLITS.index("test" if u < test else "dev" if u < dev else "train")

    def _note_questions(self, number: int, document: Document) -> None:
        """Record the roles, the number and the positions of a document's queries."""
        questions = document.questions
        for role in PAIR:
            if role not in questions[0].roles:
                self._without.setdefault(role, number)
        self._roles.update(*(question.roles for question in questions))
        self._queries = max(self._queries, len(questions))
        self._last_query = max(self._last_query, *(q.position for q in questions), 0)
        self._key_tokens = max(self._key_tokens, *(q.key_tokens for q in questions))

    def _note_key(self, number: int, document: Document, split: int) -> None:
        """Record whether the key of the first query may be an unknown token among others."""
        question, unknown = document.questions[0], self._format.tokenizer.unknown
        asked = document.symbols[question.roles.get("key", question.position)]
        before = document.symbols[: question.position]
        if asked == unknown:
            if before.count(asked) > 1:
                self._unclear.append(number)
        elif split != TRAIN and asked not in self._symbols:
            others = frozenset(before) - self._symbols - {asked}
            if others:
                self._doubtful.append((number, asked, others))

    def _fit(self, document: Document) -> None:
        """Add a train document to the vocabulary and the classes."""
        self._symbols.update(document.symbols)
        for question in document.questions:
            self._symbols.add(question.answer)
            self._answers.add(question.answer)
            for role, symbols in self._classes.items():
                if role in question.roles:
                    symbols.add(document.symbols[question.roles[role]])

    def finish(self, path: pathlib.Path) -> DocumentFile:
        """Result of the pass; UserError if lines are bad or train documents missing."""
        splits = np.array(self._splits, np.int8)
        if not len(splits) and not self._bad:
            raise UserError(f"{path} has no documents")
        has_train = bool((splits == TRAIN).any())
        # If train lines are bad or missing, answers may be unknown for that reason alone.
        if has_train and not self._bad:
            self._note_strange_answers()
        if self._bad:
            raise UserError(self._bad_lines(path))
        if not has_train:
            raise UserError(without_split(path, "train", splits))
        # Of lines that say the same the first one.
        kept = np.sort(np.unique(np.array(self._names, np.uint64), return_index=True)[1])
        file = DocumentFile(
            path=path,
            line_format=self._format,
            offsets=np.array(self._offsets, np.int64)[kept],
            hashes=np.array(self._hashes, np.int64)[kept],
            lengths=np.array(self._lengths, np.int32)[kept],
            splits=splits[kept],
            vocabulary=Vocabulary(self._symbols),
            queries=self._queries,
            last_query=self._last_query,
            key_tokens=self._key_tokens,
            role_names=tuple(sorted(self._roles, key=lambda name: (name not in PAIR, name))),
            without=self._without,
            answers=frozenset(self._answers),
            classes={role: frozenset(symbols) for role, symbols in self._classes.items()},
            repeated=len(splits) - len(kept),
            unclear=self._unclear_of(splits, kept),
        )
        _check_keys(file)
        return file

    def _unclear_of(self, splits: np.ndarray, kept: np.ndarray) -> tuple[int, ...]:
        """Number of documents of each split of which nothing tells the asked key from another."""
        found = [
            number
            for number, asked, others in self._doubtful
            if asked not in self._symbols and others - self._symbols
        ]
        numbers = np.intersect1d(kept, np.array([*self._unclear, *found], np.int64))
        return tuple(int((splits[numbers] == i).sum()) for i in range(len(SPLITS)))

    def _note_strange_answers(self) -> None:
        """Record lines as bad whose answers occur in no train document."""
        strange: dict[int, list[str]] = {}
        for symbol, lines in self._strange.items():
            if symbol not in self._symbols:
                name = self._format.tokenizer.name_of(symbol)
                for line in lines:
                    strange.setdefault(line, []).append(repr(name))
        for number in sorted(strange):
            self._refuse(number, f"{STRANGE}: {', '.join(strange[number])}")

    def _bad_lines(self, path: pathlib.Path) -> str:
        """Message that lists all bad lines, those with the same reason together."""
        reason, alike = next(iter(self._bad.items()))
        if not len(self._splits) and all(why.startswith(f"{NO_JSON}:") for why in self._bad):
            return (
                f"{path}: no line is JSON (line {alike[0]} {reason}): every line must be an object "
                '{"text": ..., "queries": [...]}, as docs/documents.md has it'
            )
        count = sum(map(len, self._bad.values())) + len(self._further)
        lines = [f"{path} has {counted(count, 'bad line')}:"]
        for why, numbers in self._bad.items():
            where = f"line {numbers[0]}"
            if len(numbers) > 1:
                where = f"{len(numbers)} lines, {_ranges(numbers, ALIKE)}"
            lines.append(f"  {where}: {why}")
        if self._further:
            lines.append(f"  and {len(self._further)} more: lines {_ranges(self._further, RANGES)}")
        if reason.startswith(STRANGE):
            lines.append(
                "  A hash of its words decides a document's split: give more documents with these "
                "answers, or smaller shares task.dev and task.test"
            )
        return "\n".join(lines)


def _name_of(document: Document) -> int:
    """A number for a document and its queries, equal for lines that say the same."""
    queries = [
        (one.position, one.answer, one.answer_position, sorted(one.roles.items()))
        for one in document.questions
    ]
    digest = hashlib.blake2b(document.content, digest_size=8)
    digest.update(repr(queries).encode())
    return int.from_bytes(digest.digest(), "big")


def _check_keys(file: DocumentFile) -> None:
    """Raise UserError if nothing tells the asked key apart in most documents of a split."""
    for i, split in enumerate(SPLITS):
        if 2 * file.unclear[i] > (file.splits == i).sum():
            raise UserError(
                f"{file.unclear_keys(split)}. Ask for keys whose tokens train documents have, or "
                "take another task.tokenizer"
            )


def _ranges(numbers: Sequence[int], most: int) -> str:
    """Rising numbers as text, ``3-5, 9``; of more than `most` ranges the first and the end."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        elif len(ranges) < most:
            ranges.append([number, number])
        else:
            break
    words = ", ".join(f"{a}-{b}" if b > a else f"{a}" for a, b in ranges)
    return words if ranges[-1][1] == numbers[-1] else f"{words}, ... {numbers[-1]}"
