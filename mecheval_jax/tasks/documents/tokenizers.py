"""From text to tokens with their places in it, and from tokens to ids.

A tokenizer gives symbols: words, bytes, or the pieces of a Hugging Face ``tokenizer.json``. The
ids are a matter of the `Vocabulary`: pad 0, bos 1, eos 2, unknown 3, then the symbols of the
training documents in order, so that no model has rows that nothing trains.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from mecheval_jax.errors import UserError, choose
from mecheval_jax.tasks.base import EOS, SPECIAL

Symbol = str | int

UNKNOWN = EOS + 1
"""Id of every symbol that no training document has."""

NAMES = (*SPECIAL, "<unk>")
"""Names of the ids that are no symbol."""

IDS = "ids"
"""Stands for documents that are token ids already."""


@dataclasses.dataclass(frozen=True)
class Tokens:
    """A text in tokens.

    Attributes:
        symbols: one a token.
        starts, stops: characters of the text that each token covers, half open; neither ever
            goes back.
    """

    symbols: Sequence[Symbol]
    starts: Sequence[int]
    stops: Sequence[int]


@runtime_checkable
class Tokenizer(Protocol):
    """Cuts texts."""

    def encode(self, text: str) -> Tokens:
        """The tokens of a text, none added."""
        ...

    def name_of(self, symbol: Symbol) -> str:
        """A symbol in words."""
        ...


class Whitespace:
    """Tokens are what stands between white space."""

    def encode(self, text: str) -> Tokens:
        """The words of a text, with the punctuation that is joined to them."""
        words = list(re.finditer(r"\S+", text))
        return Tokens(
            [word.group() for word in words],
            [word.start() for word in words],
            [word.end() for word in words],
        )

    def name_of(self, symbol: Symbol) -> str:
        """The word."""
        return str(symbol)


class Bytes:
    """Tokens are the bytes of the text in UTF-8."""

    def encode(self, text: str) -> Tokens:
        """The bytes of a text; those of one character cover that character."""
        places = [i for i, character in enumerate(text) for _ in character.encode()]
        return Tokens(list(text.encode()), places, [place + 1 for place in places])

    def name_of(self, symbol: Symbol) -> str:
        """The character of a printable ASCII byte, the number of another."""
        byte = int(symbol)
        return chr(byte) if 0x20 < byte < 0x7F else f"\\x{byte:02x}"


class Ids:
    """For documents that are ids: there is no text to cut."""

    def encode(self, text: str) -> Tokens:
        """Refuse.

        Raises:
            UserError: always.
        """
        raise UserError(f"tokenizer {IDS!r} takes token ids, not the text {text!r}")

    def name_of(self, symbol: Symbol) -> str:
        """The id, as it stands in the file."""
        return str(symbol)


class HuggingFace:
    """The tokenizer of a ``tokenizer.json``, by the optional package ``tokenizers``.

    No special tokens are added, nothing is truncated and nothing padded, whatever the file says.
    """

    def __init__(self, path: str):
        try:
            import tokenizers
        except ImportError:
            raise UserError(
                f"task.tokenizer {path} needs the package tokenizers: pip install tokenizers"
            ) from None
        if not pathlib.Path(path).is_file():
            raise UserError(f"task.tokenizer {path}: there is no such file")
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(path)
        except Exception as error:  # the package raises bare Exceptions
            raise UserError(f"task.tokenizer {path} cannot be read: {error}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, text: str) -> Tokens:
        """The pieces of a text."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        starts, stops = zip(*encoding.offsets, strict=True) if encoding.offsets else ((), ())
        return Tokens(encoding.tokens, starts, stops)

    def name_of(self, symbol: Symbol) -> str:
        """The piece, as the tokenizer writes it."""
        return str(symbol)


BUILT_IN: dict[str, type] = {IDS: Ids, "whitespace": Whitespace, "bytes": Bytes}


def is_file(name: str) -> bool:
    """Whether a tokenizer is named by a file."""
    return name not in BUILT_IN and name.endswith(".json")


def tokenizer_of(name: str) -> Tokenizer:
    """The tokenizer of a name, or of the path of a ``tokenizer.json``.

    Raises:
        UserError: neither, or the package or the file is missing.
    """
    if is_file(name):
        return HuggingFace(name)
    return BUILT_IN[choose("task.tokenizer (or path of a tokenizer.json)", name, BUILT_IN)]()


class Vocabulary:
    """Ids of symbols.

    Args:
        symbols: all of them, of one type.
    """

    def __init__(self, symbols: Iterable[Symbol]):
        self._symbols = sorted(symbols)
        first = len(NAMES)
        self._ids = {symbol: first + i for i, symbol in enumerate(self._symbols)}

    def __len__(self) -> int:
        """Number of ids, with those that are no symbol."""
        return len(NAMES) + len(self._symbols)

    def ids(self, symbols: Iterable[Symbol]) -> list[int]:
        """Ids of symbols; `UNKNOWN` for those that it does not have."""
        return [self._ids.get(symbol, UNKNOWN) for symbol in symbols]

    def symbol(self, token: int) -> Symbol | None:
        """The symbol of an id; None where it is no symbol."""
        return None if token < len(NAMES) else self._symbols[token - len(NAMES)]
