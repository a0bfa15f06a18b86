"""One line of a document file: what it must hold, and where its roles stand.

    {"text": "...", "queries": [{"query": [start, stop], "answer": [start, stop] or "...",
                                 "key": [start, stop], "value": [start, stop],
                                 "roles": {"name": [start, stop]}}]}

with half-open spans of characters, or, of ids,

    {"tokens": [id, ...], "queries": [{"query": index, "answer": id, "key": index,
                                       "value": index, "roles": {"name": index}}]}

``key``, ``value`` and ``roles`` may be left out. The whole document is read, and the answer is
predicted at the last token of the query. A role stands at the last token of its span, by which
a causal model has read all of it; but ``value`` stands at the first one where only the first
token of answers is scored, since that is the token which is the answer. Other fields beside
``queries`` are the user's own and are not looked at.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from mecheval_jax.errors import UserError, choose
from mecheval_jax.tasks.documents.spans import (
    CharacterSpan,
    CharacterSpans,
    Places,
    TokenIndices,
    is_whole,
)
from mecheval_jax.tasks.documents.tokenizers import IDS, Symbol, Tokenizer

PAIR = ("key", "value")
"""Roles that stand in a query beside it and that must come before it."""

DERIVED = {"next_key": 1, "value+2": 2}
"""Roles by their distance from the value."""

RESERVED = ("bos", "query", "answer", *PAIR, *DERIVED)
"""Names that no other role can have."""

FIELDS = ("query", "answer", *PAIR, "roles")

_SURROGATE = re.compile("[\ud800-\udfff]")


class BadLine(UserError):
    """What is wrong with a line.

    Attributes:
        reasons: each a sentence without its subject, the line.
    """

    def __init__(self, reasons: list[str]):
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclasses.dataclass(frozen=True)
class Question:
    """One query of a document; positions count the document's own tokens.

    Attributes:
        position: where the answer is predicted.
        answer: its symbol.
        answer_position: where the answer stands in the document after the query, if it does.
        roles: positions of key, value and the roles that the line names.
    """

    position: int
    answer: Symbol
    answer_position: int | None
    roles: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Document:
    """A line that is as it should be.

    Attributes:
        symbols: its tokens.
        questions: at least one.
        content: what the document is, whatever is asked: its text or its ids, as bytes.
    """

    symbols: list[Symbol]
    questions: list[Question]
    content: bytes


@dataclasses.dataclass(frozen=True)
class LineFormat:
    """How lines are read.

    Attributes:
        tokenizer: cuts the texts.
        of_ids: lines hold ids, and positions count them.
        first_answer_token: of an answer of several tokens the first is scored; otherwise such
            an answer is an error.
        max_length: tokens of the longest document, with bos and eos; 0 for no limit.
        value_is_answer: a ``value`` whose token is not the answer's is an error.
    """

    tokenizer: Tokenizer
    of_ids: bool
    first_answer_token: bool = False
    max_length: int = 0
    value_is_answer: bool = False

    def read(self, line: bytes) -> Document:
        """The document of a line.

        Raises:
            BadLine: with all that is wrong.
        """
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadLine([f"is no JSON: {error}"]) from None
        if not isinstance(record, dict):
            raise BadLine(["is no JSON object"])
        symbols, places, content = self._ids(record) if self.of_ids else self._text(record)
        reasons: list[str] = []
        size = len(symbols) + 2  # with bos and eos
        if self.max_length and size > self.max_length:
            reasons.append(
                f"has {size} tokens with bos and eos: task.max_length is {self.max_length}"
            )
        records = record.get("queries")
        if not isinstance(records, list) or not records:
            raise BadLine([*reasons, "has no list 'queries' with at least one query"])
        questions = []
        for number, query in enumerate(records):
            try:
                questions.append(_Asking(self, symbols, places, query).question())
            except BadLine as error:
                reasons += [f"query {number}: {reason}" for reason in error.reasons]
        if reasons:
            raise BadLine(reasons)
        return Document(symbols, questions, content)

    def _ids(self, record: dict[str, Any]) -> tuple[list[Symbol], Places, bytes]:
        if "tokens" not in record:
            raise BadLine([f"has no field 'tokens', which tokenizer {IDS!r} reads"])
        ids = record["tokens"]
        if not isinstance(ids, list) or not all(is_whole(token) for token in ids):
            raise BadLine(["has 'tokens' that are no list of whole numbers"])
        if not ids:
            raise BadLine(["has no tokens"])
        if min(ids) < 0:
            raise BadLine([f"has the negative token id {min(ids)}"])
        return ids, TokenIndices(len(ids)), json.dumps(ids).encode()

    def _text(self, record: dict[str, Any]) -> tuple[list[Symbol], Places, bytes]:
        if "text" not in record:
            hint = " (for 'tokens' take task.tokenizer 'ids')" if "tokens" in record else ""
            raise BadLine([f"has no field 'text'{hint}"])
        text = record["text"]
        if not isinstance(text, str):
            raise BadLine([f"has a 'text' that is no string: {text!r:.40}"])
        if not _is_unicode(text):
            raise BadLine(["has a 'text' with half of a surrogate pair"])
        tokens = self.tokenizer.encode(text)
        if not tokens.symbols:
            raise BadLine([f"has a 'text' without tokens: {text!r:.40}"])
        return list(tokens.symbols), CharacterSpans(text, tokens), text.encode()


def _is_unicode(text: str) -> bool:
    """Whether a text has a form in UTF-8; JSON can write halves of characters."""
    return _SURROGATE.search(text) is None


class _Asking:
    """The reading of one query; what is wrong gathers in `reasons`."""

    def __init__(self, form: LineFormat, symbols: list[Symbol], places: Places, record: Any):
        if not isinstance(record, dict):
            raise BadLine([f"is no JSON object: {record!r:.40}"])
        self._form, self._symbols, self._places, self._record = form, symbols, places, record
        self._reasons: list[str] = []

    def _try(self, read: Callable, *arguments: Any) -> Any:
        """What a reading gives; None, and one more reason, where it finds a mistake."""
        try:
            return read(*arguments)
        except UserError as error:
            self._reasons.append(str(error))
            return None

    def question(self) -> Question:
        """The query.

        Raises:
            BadLine: with all that is wrong with it.
        """
        record = self._record
        for name in record:
            self._try(choose, "field", name, FIELDS)
        for name in ("query", "answer"):
            if name not in record:
                self._reasons.append(f"has no field {name!r}")
        found = {
            name: self._try(self._places.find, name, record[name])
            for name in ("query", *PAIR)
            if name in record
        }
        spans: dict[str, CharacterSpan] = {
            name: span for name, span in found.items() if span is not None
        }
        self._check_order(spans)
        spans |= self._named()
        roles = {name: span.last for name, span in spans.items()}
        if self._form.first_answer_token and "value" in spans:
            roles["value"] = spans["value"].first
        # Without a query the answer is read for its own mistakes.
        position = roles.pop("query", -1)
        answer = self._try(self._answer, position) if "answer" in record else None
        if answer and self._form.value_is_answer and "value" in roles:
            self._try(self._check_value, self._symbols[roles["value"]], answer[0])
        if self._reasons or answer is None:
            raise BadLine(self._reasons)
        return Question(position, *answer, roles)

    def _named(self) -> dict[str, CharacterSpan]:
        """The places of the roles that have names of the user's own."""
        named = self._record.get("roles", {})
        if not isinstance(named, dict):
            self._reasons.append(f"roles are no JSON object: {named!r:.40}")
            return {}
        spans = {}
        for name, place in named.items():
            if name in RESERVED:
                self._reasons.append(f"role {name!r} has a name with a meaning of its own")
                continue
            span = self._try(self._places.find, f"role {name!r}", place)
            if span is not None:
                spans[name] = span
        return spans

    def _check_order(self, spans: Mapping[str, CharacterSpan]) -> None:
        """Key, value and query are apart, and the query is last."""
        for one, other in itertools.combinations(spans.values(), 2):
            if one.overlaps(other):
                self._reasons.append(f"{one.label} and {other.label} overlap")
            elif "query" in spans and one is spans["query"] and other.start > one.start:
                self._reasons.append(f"{other.label} comes after the {one.label}")

    def _check_value(self, value: Symbol, answer: Symbol) -> None:
        """A model that copies the value must be right."""
        if value == answer:
            return
        name_of, text = self._form.tokenizer.name_of, self._record["answer"]
        hint = ""
        if isinstance(text, str):
            spaced = self._form.tokenizer.encode(f" {text}").symbols
            if spaced and spaced[0] == value:
                hint = f"write the answer with the space before it, {f' {text}'!r}, or "
        raise UserError(
            f"the value's token is {name_of(value)!r} and the answer's {name_of(answer)!r}: "
            f"{hint}take task.value_is_answer=False if they are meant to differ"
        )

    def _answer(self, query: int) -> tuple[Symbol, int | None]:
        """The answer's (first) token, and where it stands after the query."""
        answer = self._record["answer"]
        symbols = self._symbols
        if self._form.of_ids:
            if not is_whole(answer) or answer < 0:
                raise UserError(f"answer {answer!r} is no token id")
            pieces, position = [answer], query + 1
        elif isinstance(answer, str):
            if not _is_unicode(answer):
                raise UserError(f"answer {answer!r} has half of a surrogate pair")
            pieces, position = list(self._form.tokenizer.encode(answer).symbols), query + 1
            if not pieces:
                raise UserError(f"answer {answer!r} holds no token")
        else:
            span = self._places.find("answer", answer)
            if span.first <= query:
                raise UserError(
                    f"{span.label} does not come after the query: write an answer that stands "
                    "before it as a string"
                )
            pieces, position = symbols[span.first : span.last + 1], span.first
        if len(pieces) > 1 and not self._form.first_answer_token:
            names = ", ".join(repr(self._form.tokenizer.name_of(piece)) for piece in pieces)
            raise UserError(
                f"the tokenizer splits the answer into {len(pieces)} tokens ({names}): "
                "task.first_answer_token=True scores the first"
            )
        stands = position < len(symbols) and symbols[position] == pieces[0]
        return pieces[0], position if stands else None
