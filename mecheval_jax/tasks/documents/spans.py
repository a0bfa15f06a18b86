"""What the places that a document line names cover: characters of its text, or its tokens."""

import dataclasses
from bisect import bisect_left, bisect_right
from typing import Any, Protocol, runtime_checkable

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.documents.tokenizers import Tokens


@dataclasses.dataclass(frozen=True)
class CharacterSpan:
    """A place that is as it should be.

    Attributes:
        label: in words, for messages.
        start, stop: as it was given, half open.
        first, last: its tokens.
    """

    label: str
    start: int
    stop: int
    first: int
    last: int

    def overlaps(self, other: "CharacterSpan") -> bool:
        """Whether two places share anything."""
        return self.start < other.stop and other.start < self.stop


@runtime_checkable
class Places(Protocol):
    """Finds the tokens of a place."""

    def find(self, name: str, place: Any) -> CharacterSpan:
        """The place that the field `name` gives.

        Raises:
            UserError: it is none of this document.
        """
        ...


@dataclasses.dataclass(frozen=True)
class CharacterSpans:
    """Places are half-open spans of characters, ``[start, stop]``; they must not cut a token.

    A token may bring the white space round a word with it, which does not count as cut.
    """

    text: str
    tokens: Tokens

    def find(self, name: str, place: Any) -> CharacterSpan:
        """All tokens that a span covers."""
        if not isinstance(place, list) or len(place) != 2 or not all(map(is_whole, place)):
            raise UserError(f"{name} is no span [start, stop]: {place!r:.40}")
        start, stop = place
        label = f"{name} [{start}, {stop}]"
        if start < 0 or stop > len(self.text):
            raise UserError(f"{label} lies outside the text of {len(self.text)} characters")
        if start >= stop:
            raise UserError(f"{label} is empty")
        first = bisect_right(self.tokens.stops, start)
        last = bisect_left(self.tokens.starts, stop) - 1
        if first > last:
            raise UserError(f"{label} holds no token: {self.text[start:stop]!r:.40}")
        for token in (first, last):
            self._check_whole(label, start, stop, token)
        return CharacterSpan(label, start, stop, first, last)

    def _check_whole(self, label: str, start: int, stop: int, token: int) -> None:
        begin, end = self.tokens.starts[token], self.tokens.stops[token]
        covered = self.text[begin:end]
        begin += len(covered) - len(covered.lstrip())
        end -= len(covered) - len(covered.rstrip())
        if begin < end and not (start <= begin and end <= stop):
            raise UserError(f"{label} cuts the token {covered!r}")


@dataclasses.dataclass(frozen=True)
class TokenIndices:
    """Places are indices of tokens."""

    size: int

    def find(self, name: str, place: Any) -> CharacterSpan:
        """The token of an index."""
        if not is_whole(place):
            raise UserError(f"{name} is no index of a token: {place!r:.40}")
        label = f"{name} {place}"
        if not 0 <= place < self.size:
            raise UserError(f"{label} lies outside the document of {self.size} tokens")
        return CharacterSpan(label, place, place + 1, place, place)


def is_whole(value: Any) -> bool:
    """Whether a value of JSON is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)
