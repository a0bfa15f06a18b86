"""A user's own documents, in a file of JSON lines (see `tasks.documents.line` for the format).

    <bos> the document's tokens <eos>

Each answer is predicted at the last token of its query. A causal model has not read what follows
the query there, such as the answer. Ids: pad 0, bos 1, eos 2, unknown 3, then the symbols of the
train documents and their answers.

Roles: ``bos``, ``query``, ``answer`` (if it occurs in the document after the query), ``key``,
``value`` and every role that a line names, each `ABSENT` for queries without it. If queries have
``value``, there are also ``next_key`` and ``value+2``, the tokens after it, absent if they would
fall on the key, or not lie before the query and before a role ``divider``, any token of which
counts.

The corruptions are ``key`` and ``value``, each available if the first query of every document has
the role. The class of a role is the set of tokens that stand there in train documents.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.checksums import sha256_of
from mecheval_jax.errors import UserError, choose
from mecheval_jax.fields import Section
from mecheval_jax.tasks.base import (
    ABSENT,
    BOS,
    DERIVED,
    EOS,
    PAD,
    PAIR,
    SPLITS,
    Batch,
    describe,
    first_query,
    query_properties,
)
from mecheval_jax.tasks.documents.document_floors import place_floors, value_floors
from mecheval_jax.tasks.documents.file import DocumentFile
from mecheval_jax.tasks.documents.line import Document, DocumentQuery
from mecheval_jax.tasks.documents.replacement import replace
from mecheval_jax.tasks.documents.scan import remarks_on, scanned
from mecheval_jax.tasks.documents.tokenizers import NAMES, check_file, is_file
from mecheval_jax.tasks.floors import with_best
from mecheval_jax.tasks.packed import HostTask, Packed, generator
from mecheval_jax.tasks.packed_floors import answer_class, in_document, packed_floors

FITTED_TOKENS = 4_000_000
"""Tokens of train documents that floors are fitted to; all are held in memory for it."""

KEPT_TOKENS = 4_000_000
"""Greatest number of tokens of a split that is kept in memory; others are read when drawn."""


@dataclasses.dataclass(frozen=True)
class Documents(HostTask, Section, section="task"):
    """The task, whose constructor reads and checks the file.

    Attributes:
        path: Path of the file.
        tokenizer: ``whitespace``, ``bytes``, ``ids`` for documents that consist of ids, or the
            path of a Hugging Face ``tokenizer.json``.
        first_answer_token: Whether the first token of a longer answer is scored; otherwise
            answers of several tokens are errors.
        dev, test: Shares of the documents in these splits, chosen by a hash of the document.
        max_length: Greatest number of tokens of a document, with bos and eos; 0 for no limit.
        value_is_answer: Whether the token at ``value`` must be the answer.
        sha256: Expected hash of the file and, if it is one, the tokenizer's; filled in if empty.

    Raises:
        UserError: If a field is invalid, the file has bad lines, or the hash differs.
    """

    path: str
    tokenizer: str = "whitespace"
    first_answer_token: bool = False
    dev: float = 0.1
    test: float = 0.1
    max_length: int = 0
    value_is_answer: bool = True
    sha256: str = ""

    # In documents of one's own the answer may stand beside what is asked.
    recall_like = ("copy_next", "copy_previous", "offset", "offset_by_tokens")

    hash_field = "sha256"

    @classmethod
    def files_of(cls, values: Mapping[str, Any]) -> list[str]:
        """The file of the documents, and that of a tokenizer which has one."""
        path, tokenizer = values.get("path"), values.get("tokenizer")
        files = [path] if isinstance(path, str) else []
        return files + [tokenizer] * (isinstance(tokenizer, str) and is_file(tokenizer))

    def check(self) -> None:
        """Check bounds, and read the file."""
        for name in ("dev", "test"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"task.{name} is {getattr(self, name)}: a share, 0 <= share < 1")
        if self.dev + self.test >= 1:
            raise UserError(
                f"task.dev {self.dev} and task.test {self.test} leave no train documents"
            )
        if self.max_length < 0:
            raise UserError(f"task.max_length is {self.max_length}: 0 or a number of tokens")
        if not self.path:
            raise UserError("task.path is empty: the path of a file of JSON lines")
        files = [pathlib.Path(self.path)]
        if is_file(self.tokenizer):
            check_file(self.tokenizer)
            files.append(pathlib.Path(self.tokenizer))
        found = sha256_of(files)
        if self.sha256 not in ("", found):
            raise UserError(
                f"{' or '.join(map(str, files))} is not what it was for this config: sha256 is "
                f"{found}, and task.sha256 is {self.sha256}"
            )
        file = self._checked(found)
        # `_file` is not a field, as fields are what a config sets. The other two are, so that a
        # run's config.json records them and later readers check them.
        longest = int(file.lengths.max()) + 2
        for name, value in (
            ("_file", file),
            ("max_length", self.max_length or longest),
            ("sha256", found),
        ):
            object.__setattr__(self, name, value)

    def _checked(self, sha256: str) -> DocumentFile:
        """The file, none of whose lines is bad or too long.

        Args:
            sha256: Hash of the files, which identifies their bytes.

        Raises:
            UserError: If lines are, or the file cannot be read; all of them are named together.
        """
        scan = functools.partial(
            scanned,
            self.path,
            self.tokenizer,
            (self.dev, self.test),
            sha256,
            first_answer_token=self.first_answer_token,
            value_is_answer=self.value_is_answer,
        )
        # The same scan for a config with a limit and without: a run writes down the length found.
        try:
            file = scan()
        except UserError:
            if self.max_length:
                scan(max_length=self.max_length)  # names the lines that are too long as well
            raise
        if 0 < self.max_length < int(file.lengths.max()) + 2:
            scan(max_length=self.max_length)
        return file

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids."""
        return len(self._file.vocabulary)

    @property
    def read_length(self) -> int:
        """Number of tokens up to and including the last query of any document."""
        return 1 + self._file.last_query + 1

    @property
    def question(self) -> int:
        """Greatest number of tokens of a key, by which it is asked for."""
        return self._file.key_tokens

    @property
    def usual_length(self) -> int:
        """Median length in tokens of the file's documents, with bos and eos."""
        return int(np.median(self._file.lengths)) + 2

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles that some document has, and of those derived from them."""
        named = self._file.role_names
        derived = tuple(DERIVED) if "value" in named else ()
        return ("bos", *named, *derived, "query", "answer")

    @property
    def corruptions(self) -> tuple[str, ...]:
        """``key`` and ``value``, if all first queries have them and their class has two tokens."""
        return tuple(
            role
            for role in PAIR
            if role not in self._file.without and len(self._file.classes[role]) > 1
        )

    @property
    def chance(self) -> float:
        """Accuracy of a uniform guess among the tokens that answer a train query."""
        return 1 / len(self._file.answers)

    def absent(self) -> dict[str, str]:
        """Reasons for which ``key``, ``value`` or roles derived from them are missing, by role."""
        reasons = {}
        for role in PAIR:
            if role in self._file.without:
                line = self._file.without[role]
                reasons[role] = f"the first query of line {line} of {self.path} has no {role!r}"
            elif role not in self.corruptions:
                reasons[role] = f"all train documents of {self.path} have the same token there"
        if "value" not in self.role_names:
            reasons |= dict.fromkeys(DERIVED, reasons["value"])
        return reasons

    def remarks(self) -> tuple[str, ...]:
        """Of lines that repeat others or have no pair, and of keys that nothing tells apart."""
        return remarks_on(self._file)

    def far_longer(self) -> tuple[str, ...]:
        """A sentence on documents that are far longer than most others; nothing without any."""
        return self._file.far_longer()

    def sizes(self) -> dict[str, int]:
        """Number of different documents of each split."""
        return {name: int((self._file.splits == i).sum()) for i, name in enumerate(SPLITS)}

    def draw(self, key: Key, count: int, split: str) -> Packed:
        """Draw documents of a split, without replacement.

        If `count` exceeds the size of the split, all documents are drawn in one random order
        after another.

        Raises:
            UserError: If the split is unknown or empty.
        """
        return self.draw_lane(key, count, split, lane=0, lanes=1)

    def draw_lane(self, key: Key, count: int, split: str, lane: int, lanes: int) -> Packed:
        """One part of the documents of `draw`, without reading the others; see `HostTask`."""
        numbers = self._file.of_split(split)
        draws = generator(key)
        rounds = [draws.permutation(len(numbers)) for _ in range(-(-count // len(numbers)))]
        part = count // lanes
        chosen = np.concatenate(rounds)[lane * part : (lane + 1) * part]
        if self._file.lengths[numbers].sum() <= KEPT_TOKENS:
            return self._kept(split).take(chosen)
        return self._pack(self._file.read(numbers[chosen]))

    @functools.cache  # noqa: B019 - a handful of frozen tasks live as long as the program
    def _kept(self, split: str) -> Packed:
        """All documents of a split."""
        return self._pack(self._file.read(self._file.of_split(split)))

    def _pack(self, documents: list[Document]) -> Packed:
        """Documents as token ids and roles."""
        ids = [[BOS, *self._file.vocabulary.ids(d.symbols), EOS] for d in documents]
        shape = (len(documents), self._file.queries)
        positions, targets = np.zeros(shape, np.int32), np.full(shape, PAD, np.int32)
        weights = np.zeros(shape, np.float32)
        roles = {name: np.full(shape, ABSENT, np.int32) for name in self.role_names}
        for i, document in enumerate(documents):
            questions = document.questions
            targets[i, : len(questions)] = self._file.vocabulary.ids(q.answer for q in questions)
            for j, question in enumerate(questions):
                positions[i, j], weights[i, j] = 1 + question.position, 1
                for name, position in _roles(question).items():
                    roles[name][i, j] = position
        return Packed(
            tokens=np.concatenate(ids).astype(np.int32),
            starts=np.cumsum([0, *map(len, ids)]),
            query_positions=positions,
            targets=targets,
            weights=weights,
            roles=roles,
        )

    def corrupt(self, key: Key, batch: Batch, role: str) -> Int[Array, "batch length"]:
        """Tokens with the one at `role` (of query 0) replaced by another of its class.

        The replacement is uniform over the class without the original, and may equal another
        token of the document. Traceable.

        Raises:
            UserError: If the role cannot be corrupted.
        """
        choose("corruption", role, self.corruptions)
        return replace(key, batch.tokens, batch.roles[role][:, 0], self._class(role))

    @functools.cache  # noqa: B019 - a handful of frozen tasks live as long as the program
    def _class(self, role: str) -> np.ndarray:
        """Ids of the tokens that stand at a role in train documents, in rising order."""
        return np.sort(self._file.vocabulary.ids(self._file.classes[role])).astype(np.int32)

    def name_of(self, token: int) -> str:
        """Name of a token."""
        symbol = self._file.vocabulary.symbol(token)
        if symbol is None:
            return NAMES[token]
        return self._file.line_format.tokenizer.name_of(symbol)

    def describe(self, batch: Batch, index: int) -> str:
        """One document in words, with the roles of its first query in brackets."""
        return describe(batch, index, self.name_of)

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Properties by which accuracy is sliced; see `tasks.base.query_properties`."""
        return query_properties(batch)

    def floors(
        self, key: Key, documents: int = 4096, split: str = "test", *, first: bool = False
    ) -> dict[str, float]:
        """Accuracies, 0 to 1, of guessing, copying and counting; see `tasks.packed_floors`.

        They are fitted to all train documents, or to as many as have `FITTED_TOKENS`, and measured
        on at most `documents` of `split`, all different.
        """
        fit, judge = jax.random.split(key)
        count, tokens = (
            self.sizes()["train"],
            self._file.lengths[self._file.of_split("train")].sum(),
        )
        train = self.draw(fit, max(1, min(count, count * FITTED_TOKENS // int(tokens))), "train")
        judged = self.draw(judge, min(documents, self._file.of_split(split).size), split)
        if first:
            train, judged = first_query(train), first_query(judged)
        answers = answer_class(train)
        floors = packed_floors(train, judged) | place_floors(train, judged)
        floors |= value_floors(judged, answers)
        floors |= {"uniform": self.chance, "in_document": in_document(judged, answers)}
        return with_best(floors, self.recall_like)


def _roles(question: DocumentQuery) -> dict[str, int]:
    """Positions of the roles of a query, counted from bos, without absent ones."""
    roles = {**question.roles, **question.behind, "bos": -1, "query": question.position}
    if question.answer_position is not None:
        roles["answer"] = question.answer_position
    return {name: 1 + position for name, position in roles.items()}
