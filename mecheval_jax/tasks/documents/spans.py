"""Places that a line of a document file names: spans of characters, or indices of tokens."""

import dataclasses
from bisect import bisect_left, bisect_right
from typing import Any, Protocol, runtime_checkable

from mecheval_jax.errors import UserError, shown
from mecheval_jax.tasks.documents.tokenizers import Tokens


@dataclasses.dataclass(frozen=True)
class CharacterSpan:
    """A valid place.

    Attributes:
        label: Name of the place in messages.
        start, stop: Half-open span as given, of characters or of tokens.
        first, last: Indices of its first and last token.
    """

    label: str
    start: int
    stop: int
    first: int
    last: int

    def overlaps(self, other: "CharacterSpan") -> bool:
        """Whether two places share a character or a token."""
        return self.start < other.stop and other.start < self.stop


@runtime_checkable
class Places(Protocol):
    """Reader of the places of one document."""

    def find(self, name: str, place: Any) -> CharacterSpan:
        """The tokens of a place.

        Args:
            name: Name of the field that gives the place, for messages.
            place: JSON value of the field.

        Raises:
            UserError: If it is not a place of this document.
        """
        ...


@dataclasses.dataclass(frozen=True)
class CharacterSpans:
    """Reader of places that are half-open spans of characters, ``[start, stop]``.

    A span must not cut a token, except for white space at the ends of the token.

    Attributes:
        text: Text of the document.
        tokens: Tokens of the text.
    """

    text: str
    tokens: Tokens

    def find(self, name: str, place: Any) -> CharacterSpan:
        """The tokens that a span covers."""
        if not isinstance(place, list) or len(place) != 2 or not all(map(is_whole, place)):
            raise UserError(f"{name} is no span [start, stop]: {shown(place, 40)}")
        start, stop = place
        label = f"{name} [{start}, {stop}]"
        if start < 0 or stop > len(self.text):
            raise UserError(f"{label} lies outside the text of {len(self.text)} characters")
        if start >= stop:
            raise UserError(f"{label} is empty")
        first = bisect_right(self.tokens.stops, start)
        last = bisect_left(self.tokens.starts, stop) - 1
        if first > last:
            # Often white space, which `shown` would not keep.
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
    """Reader of places that are indices of tokens.

    Attributes:
        size: Number of tokens of the document.
    """

    size: int

    def find(self, name: str, place: Any) -> CharacterSpan:
        """The token at an index."""
        if not is_whole(place):
            raise UserError(f"{name} is no index of a token: {shown(place, 40)}")
        label = f"{name} {place}"
        if not 0 <= place < self.size:
            raise UserError(f"{label} lies outside the document of {self.size} tokens")
        return CharacterSpan(label, place, place + 1, place, place)


def is_whole(value: Any) -> bool:
    """Whether a JSON value is a whole number; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)
