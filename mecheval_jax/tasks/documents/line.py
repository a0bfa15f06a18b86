"""One line of a document file: its format, and the positions of its roles.

    {"text": "...", "queries": [{"query": [start, stop], "answer": [start, stop] or "...",
                                 "key": [start, stop], "value": [start, stop],
                                 "roles": {"name": [start, stop]}}]}

with half-open spans of characters, or, for documents that consist of ids,

    {"tokens": [id, ...], "queries": [{"query": index, "answer": id, "key": index,
                                       "value": index, "roles": {"name": index}}]}

``key``, ``value`` and ``roles`` are optional. The answer is predicted at the last token of the
query. The position of a role is the last token of its span, where a causal model has read all of
it. If only the first token of an answer is scored, the position of ``value`` is its first token,
which is then the answer. Other fields of the object are the user's own and are ignored.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from mecheval_jax.errors import UserError, choose, shown
from mecheval_jax.tasks.base import DERIVED, PAIR
from mecheval_jax.tasks.documents.spans import (
    CharacterSpan,
    CharacterSpans,
    Places,
    TokenIndices,
    is_whole,
)
from mecheval_jax.tasks.documents.tokenizers import IDS, Bytes, Symbol, Tokenizer, Whitespace

RESERVED = ("bos", "query", "query_type", "answer", *PAIR, *DERIVED)
"""Names that a role of the user's own cannot have."""

FIELDS = ("query", "answer", *PAIR, "roles")

_SURROGATE = re.compile("[\ud800-\udfff]")


NO_JSON = "is no JSON"
"""Beginning of what is said of a line that cannot be read at all."""


class BadLine(UserError):
    """A line that is not in the format.

    Attributes:
        reasons: All mistakes, each as a sentence without its subject, the line.
    """

    def __init__(self, reasons: list[str]):
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclasses.dataclass(frozen=True)
class DocumentQuery:
    """One query of a document; positions count its tokens without bos.

    Attributes:
        position: Position at which the answer is predicted.
        answer: Symbol of the answer.
        answer_position: Position of the answer after the query; None if it is not there.
        roles: Positions of ``key``, ``value`` and the roles that the line names.
        key_tokens: Number of tokens of the key; 1 without one.
        behind: Positions of the roles of `DERIVED`, without those that would fall on a token of the
            key, or not lie before all tokens of the query and of a role ``divider``.
    """

    position: int
    answer: Symbol
    answer_position: int | None
    roles: Mapping[str, int]
    key_tokens: int
    behind: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Document:
    """A document, read from a line.

    Attributes:
        symbols: Symbols of its tokens.
        questions: Queries, at least one.
        content: Tokens of the document as bytes, which do not depend on the queries.
    """

    symbols: list[Symbol]
    questions: list[DocumentQuery]
    content: bytes


@dataclasses.dataclass(frozen=True)
class LineFormat:
    """Reader of lines.

    Attributes:
        tokenizer: Tokenizer of the texts.
        of_ids: Whether documents consist of ids, and places are indices of tokens.
        first_answer_token: Whether the first token of a longer answer is scored; otherwise
            answers of several tokens are errors.
        max_length: Greatest number of tokens of a document, with bos and eos; 0 for no limit.
        value_is_answer: Whether the token at ``value`` must be the answer.
    """

    tokenizer: Tokenizer
    of_ids: bool
    first_answer_token: bool = False
    max_length: int = 0
    value_is_answer: bool = False

    def read(self, line: bytes) -> Document:
        """The document of a line.

        Raises:
            BadLine: If the line is not in the format; it lists all mistakes.
        """
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadLine([f"{NO_JSON}: {error}"]) from None
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
        """Symbols, places and content of a document that consists of ids."""
        if "tokens" not in record:
            raise BadLine([f"has no field 'tokens', which tokenizer {IDS!r} reads"])
        ids = record["tokens"]
        if not isinstance(ids, list) or not all(is_whole(token) for token in ids):
            raise BadLine(["has 'tokens' that are no list of whole numbers"])
        if not ids:
            raise BadLine(["has no tokens"])
        if min(ids) < 0:
            raise BadLine([f"has the negative token id {min(ids)}"])
        return ids, TokenIndices(len(ids)), self._content(ids)

    def _text(self, record: dict[str, Any]) -> tuple[list[Symbol], Places, bytes]:
        """Symbols, places and content of a document that is a text."""
        if "text" not in record:
            hint = " (for 'tokens' take task.tokenizer 'ids')" if "tokens" in record else ""
            raise BadLine([f"has no field 'text'{hint}"])
        text = record["text"]
        if not isinstance(text, str):
            raise BadLine([f"has a 'text' that is no string: {shown(text, 40)}"])
        if not _is_unicode(text):
            raise BadLine(["has a 'text' with half of a surrogate pair"])
        tokens = self.tokenizer.encode(text)
        if not tokens.symbols:  # of white space, which `shown` would not keep
            raise BadLine([f"has a 'text' without tokens: {text!r:.40}"])
        symbols = list(tokens.symbols)
        return symbols, CharacterSpans(text, tokens), self._content(symbols)

    def _content(self, symbols: list[Symbol]) -> bytes:
        """Tokens of a text as bytes: documents of the same tokens are copies.

        Words and bytes are written as in the text, since the split of a document is a hash of it.
        """
        if isinstance(self.tokenizer, Whitespace):
            return " ".join(map(str, symbols)).encode()
        return bytes(symbols) if isinstance(self.tokenizer, Bytes) else json.dumps(symbols).encode()


def _is_unicode(text: str) -> bool:
    """Whether a text can be encoded in UTF-8; JSON can hold single surrogates, which cannot."""
    return _SURROGATE.search(text) is None


def _behind(value: int | None, spans: Mapping[str, CharacterSpan]) -> dict[str, int]:
    """Positions of the roles of `DERIVED`; see `DocumentQuery`.

    Args:
        value: Position of ``value``; None without one.
        spans: Places of the query and of its roles.
    """
    if value is None:
        return {}
    limit = min(spans[name].first for name in ("query", "divider") if name in spans)
    found = {
        name: value + distance for name, distance in DERIVED.items() if value + distance < limit
    }
    key = spans.get("key")
    return {n: at for n, at in found.items() if key is None or not key.first <= at <= key.last}


class _Asking:
    """The reading of one query, which collects all mistakes before it raises."""

    def __init__(self, form: LineFormat, symbols: list[Symbol], places: Places, record: Any):
        if not isinstance(record, dict):
            raise BadLine([f"is no JSON object: {shown(record, 40)}"])
        self._form, self._symbols, self._places, self._record = form, symbols, places, record
        self._reasons: list[str] = []

    def _try(self, read: Callable, *arguments: Any) -> Any:
        """Result of `read`; None if it raises UserError, whose message is kept as a reason."""
        try:
            return read(*arguments)
        except UserError as error:
            self._reasons.append(str(error))
            return None

    def question(self) -> DocumentQuery:
        """The query.

        Raises:
            BadLine: If it is not in the format; it lists all mistakes.
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
        self._check_divider(spans)
        roles = {name: span.last for name, span in spans.items()}
        if self._form.first_answer_token and "value" in spans:
            roles["value"] = spans["value"].first
        # The answer is read even without a query, to find its own mistakes.
        position = roles.pop("query", -1)
        answer = self._try(self._answer, position) if "answer" in record else None
        if answer and self._form.value_is_answer and "value" in roles:
            self._try(self._check_value, self._symbols[roles["value"]], answer[0])
        if self._reasons or answer is None:
            raise BadLine(self._reasons)
        key_tokens = spans["key"].last - spans["key"].first + 1 if "key" in spans else 1
        behind = _behind(roles.get("value"), spans)
        return DocumentQuery(position, *answer, roles, key_tokens, behind)

    def _named(self) -> dict[str, CharacterSpan]:
        """Places of the roles that the line names, by name."""
        named = self._record.get("roles", {})
        if not isinstance(named, dict):
            self._reasons.append(f"roles are no JSON object: {shown(named, 40)}")
            return {}
        spans = {}
        for name, place in named.items():
            if name in RESERVED:
                self._reasons.append(f"role {name!r} has a name with a meaning of its own")
                continue
            if not name.isprintable() or not name or {" ", ","} & set(name):
                self._reasons.append(
                    f"role {name!r:.40}: a name takes printable characters, without white "
                    "space and commas"
                )
                continue
            span = self._try(self._places.find, f"role {name!r}", place)
            if span is not None:
                spans[name] = span
        return spans

    def _check_order(self, spans: Mapping[str, CharacterSpan]) -> None:
        """Check that key, value and query do not overlap, and that the query comes last."""
        for one, other in itertools.combinations(spans.values(), 2):
            if one.overlaps(other):
                self._reasons.append(f"{one.label} and {other.label} overlap")
            elif "query" in spans and one is spans["query"] and other.start > one.start:
                self._reasons.append(f"{other.label} comes after the {one.label}")

    def _check_divider(self, spans: Mapping[str, CharacterSpan]) -> None:
        """Check that what is read before the divider is no more than what a query has read."""
        if {"divider", "query"} <= set(spans) and spans["divider"].last > spans["query"].last:
            self._reasons.append(
                f"{spans['divider'].label} comes after the {spans['query'].label}: floors read up "
                "to it"
            )

    def _check_value(self, value: Symbol, answer: Symbol) -> None:
        """Check that the token at ``value`` is the answer, so that copying it is right."""
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
        """The first token of the answer, and its position after the query, None if not there.

        Args:
            query: Position of the query's last token.
        """
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
        if pieces[0] == self._form.tokenizer.unknown:
            raise UserError(
                f"the tokenizer does not know the answer {shown(answer, 40)}: its first token is "
                f"{pieces[0]!r}, which stands for every unknown word"
            )
        if len(pieces) > 1 and not self._form.first_answer_token:
            names = ", ".join(repr(self._form.tokenizer.name_of(piece)) for piece in pieces)
            raise UserError(
                f"the tokenizer splits the answer into {len(pieces)} tokens ({names}): "
                "task.first_answer_token=True scores the first"
            )
        stands = position < len(symbols) and symbols[position] == pieces[0]
        return pieces[0], position if stands else None
