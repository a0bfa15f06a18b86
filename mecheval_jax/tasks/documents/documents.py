"""The user's own documents, from a file of JSON lines (`tasks.documents.line` has the format).

    <bos> the document's tokens <eos>

Each answer is predicted at the last token of its query; what follows the query in the document,
such as the answer, is beyond what a causal model has read there. Ids: pad 0, bos 1, eos 2,
unknown 3, then the symbols of the train documents and their answers.

Roles: ``bos``, ``query``, ``answer`` (where it stands in the document after the query),
``key``, ``value`` and every role that a line names, each `ABSENT` from queries without it. With
``value`` there are also ``next_key`` and ``value+2``, the tokens after it; they are absent where
they would fall on the key, on a named ``divider`` or on what comes after it, or on the query or
what comes after it.

A corruption (``key``, ``value``) can be asked for if every document's first query has the role.
The other tokens of its class are those that stand at the role in train documents.
"""

import dataclasses
import functools
import pathlib

import jax
import numpy as np

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.errors import UserError, choose
from mecheval_jax.files import sha256_of
from mecheval_jax.tasks.base import (
    ABSENT,
    BOS,
    EOS,
    PAD,
    SPLITS,
    Batch,
    describe,
    query_properties,
)
from mecheval_jax.tasks.documents.line import DERIVED, PAIR, Document, Question
from mecheval_jax.tasks.documents.scan import scanned
from mecheval_jax.tasks.documents.tokenizers import NAMES, is_file
from mecheval_jax.tasks.packed import HostTask, Packed, generator
from mecheval_jax.tasks.packed_floors import answer_class, in_document, packed_floors
from mecheval_jax.tasks.synthetic.replacement import replace

KEPT_TOKENS = 4_000_000
"""A split of at most so many tokens is kept; documents of a larger one are read when drawn."""


@dataclasses.dataclass(frozen=True)
class Documents(HostTask):
    """The task. The file is read and checked when it is made.

    Attributes:
        path: of the file.
        tokenizer: ``whitespace``, ``bytes``, ``ids`` for documents that are ids, or the path of
            a Hugging Face ``tokenizer.json``.
        first_answer_token: of an answer of several tokens the first is scored; otherwise such
            an answer is an error.
        dev, test: shares of the documents in these splits, by a hash of the document.
        max_length: tokens that a document may have, with bos and eos; 0 for the longest one's.
        value_is_answer: a ``value`` whose token is not the answer's is an error.
        sha256: of the file, and of the tokenizer's where there is one; if given, the files must
            be these.
    """

    path: str
    tokenizer: str = "whitespace"
    first_answer_token: bool = False
    dev: float = 0.1
    test: float = 0.1
    max_length: int = 0
    value_is_answer: bool = True
    sha256: str = ""

    def __post_init__(self):
        for name in ("dev", "test"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"task.{name} is {getattr(self, name)}: a share, 0 <= share < 1")
        if self.dev + self.test >= 1:
            raise UserError(
                f"task.dev {self.dev} and task.test {self.test} leave no train documents"
            )
        if self.max_length < 0:
            raise UserError(f"task.max_length is {self.max_length}: 0 or a number of tokens")
        files = [pathlib.Path(self.path)]
        files += [pathlib.Path(self.tokenizer)] if is_file(self.tokenizer) else []
        found = sha256_of(files)
        if self.sha256 not in ("", found):
            raise UserError(
                f"{' or '.join(map(str, files))} is not what it was for this config: sha256 is "
                f"{found}, and task.sha256 is {self.sha256}"
            )
        file = scanned(**(dataclasses.asdict(self) | {"sha256": found}))
        # The file is no field: a field is what a config says. These two, once they are known,
        # stand in a run's config.json, and whoever reads that checks them.
        longest = int(file.lengths.max()) + 2
        for name, value in (
            ("_file", file),
            ("max_length", self.max_length or longest),
            ("sha256", found),
        ):
            object.__setattr__(self, name, value)

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids."""
        return len(self._file.vocabulary)

    @property
    def read_length(self) -> int:
        """Tokens up to and with the last query of any document."""
        return 1 + self._file.last_query + 1

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles that some document has, and of those that come of them."""
        named = self._file.role_names
        derived = tuple(DERIVED) if "value" in named else ()
        return ("bos", *named, *derived, "query", "answer")

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Of key and value those that every first query has, and that have two tokens or more."""
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
        """Of key, value and what comes of them, those that first queries lack or all share."""
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

    def sizes(self) -> dict[str, int]:
        """Number of documents of each split."""
        return {name: int((self._file.splits == i).sum()) for i, name in enumerate(SPLITS)}

    def draw(self, key: Key, count: int, split: str) -> Packed:
        """Documents of a split, in random order.

        None twice while the split has enough of them; beyond that, all of them in one random
        order after another.

        Raises:
            UserError: an unknown split, or an empty one.
        """
        return self.draw_lane(key, count, split, lane=0, lanes=1)

    def draw_lane(self, key: Key, count: int, split: str, lane: int, lanes: int) -> Packed:
        """One part of the documents that `draw` would give; the others are not read."""
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
        """The tokens with the one at `role` (of query 0) replaced by another of its class.

        Uniform over the class without the original; it may be another token of the document.
        Traceable.

        Raises:
            UserError: a role that cannot be corrupted.
        """
        choose("corruption", role, self.corruptions)
        return replace(key, batch.tokens, batch.roles[role][:, 0], self._class(role))

    @functools.cache  # noqa: B019 - a handful of frozen tasks live as long as the program
    def _class(self, role: str) -> np.ndarray:
        """Ids of the tokens that stand at a role in train documents, in order."""
        return np.sort(self._file.vocabulary.ids(self._file.classes[role])).astype(np.int32)

    def name_of(self, token: int) -> str:
        """A token in words."""
        symbol = self._file.vocabulary.symbol(token)
        if symbol is None:
            return NAMES[token]
        return self._file.line_format.tokenizer.name_of(symbol)

    def describe(self, batch: Batch, index: int) -> str:
        """One document in words; the roles of its first query stand in brackets."""
        return describe(batch, index, self.name_of)

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Numbers by which accuracy is sliced; see `tasks.base.query_properties`."""
        return query_properties(batch)

    def floors(self, key: Key, documents: int = 4096, split: str = "test") -> dict[str, float]:
        """Accuracies of guessing, copying and counting; see `tasks.packed_floors`.

        Fitted on so many train documents and counted on so many of `split`, none twice.
        """
        sizes = self.sizes()
        fit, judge = jax.random.split(key)
        train = self.draw(fit, min(documents, sizes["train"]), "train")
        judged = self.draw(judge, min(documents, self._file.of_split(split).size), split)
        floors = packed_floors(train, judged)
        del floors["best"]
        floors |= {"uniform": self.chance, "in_document": in_document(judged, answer_class(train))}
        return floors | {"best": max(floors.values())}


def _roles(question: Question) -> dict[str, int]:
    """Positions of a question's roles, counted from bos; those that are absent are left out."""
    roles = dict(question.roles)
    if "value" in roles:
        limit = min(question.position, roles.get("divider", question.position))
        for name, distance in DERIVED.items():
            position = roles["value"] + distance
            if position < limit and position != roles.get("key"):
                roles[name] = position
    roles |= {"bos": -1, "query": question.position}
    if question.answer_position is not None:
        roles["answer"] = question.answer_position
    return {name: 1 + position for name, position in roles.items()}
