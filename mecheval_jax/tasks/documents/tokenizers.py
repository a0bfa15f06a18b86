"""Tokenizers, which cut text into symbols, and vocabularies, which give symbols ids.

Symbols are words, bytes, or the pieces of a Hugging Face ``tokenizer.json``. The ids of a
`Vocabulary` are pad 0, bos 1, eos 2, unknown 3, then the symbols of the train documents in order,
so that a model has no embeddings that are never trained.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from mecheval_jax.errors import UserError, choose
from mecheval_jax.tasks.base import EOS, SPECIAL

Symbol = str | int

UNKNOWN = EOS + 1
"""Id of every symbol that occurs in no train document."""

NAMES = (*SPECIAL, "<unk>")
"""Names of the ids that stand for no symbol."""

IDS = "ids"
"""Name of the tokenizer of documents that consist of token ids."""


@dataclasses.dataclass(frozen=True)
class Tokens:
    """The tokens of a text.

    Attributes:
        symbols: Symbol of each token.
        starts, stops: Half-open span of characters that each token covers; neither decreases.
    """

    symbols: Sequence[Symbol]
    starts: Sequence[int]
    stops: Sequence[int]


@runtime_checkable
class Tokenizer(Protocol):
    """Interface of tokenizers.

    Attributes:
        unknown: Symbol that stands for everything the tokenizer does not know; None if it has none.
    """

    unknown: Symbol | None

    def encode(self, text: str) -> Tokens:
        """The tokens of a text, without special tokens."""
        ...

    def name_of(self, symbol: Symbol) -> str:
        """A symbol as text, for people."""
        ...


class Whitespace:
    """Tokenizer into words separated by white space."""

    unknown: Symbol | None = None

    def encode(self, text: str) -> Tokens:
        """The words of a text, with adjacent punctuation."""
        words = list(re.finditer(r"\S+", text))
        return Tokens(
            [word.group() for word in words],
            [word.start() for word in words],
            [word.end() for word in words],
        )

    def name_of(self, symbol: Symbol) -> str:
        """The word itself."""
        return str(symbol)


class Bytes:
    """Tokenizer into the bytes of the text in UTF-8."""

    unknown: Symbol | None = None

    def encode(self, text: str) -> Tokens:
        """The bytes of a text; all bytes of a character cover that character."""
        places = [i for i, character in enumerate(text) for _ in character.encode()]
        return Tokens(list(text.encode()), places, [place + 1 for place in places])

    def name_of(self, symbol: Symbol) -> str:
        """The character of a printable ASCII byte, else its hexadecimal number."""
        byte = int(symbol)
        return chr(byte) if 0x20 < byte < 0x7F else f"\\x{byte:02x}"


class Ids:
    """Tokenizer of documents that consist of ids and have no text."""

    unknown: Symbol | None = None

    def encode(self, text: str) -> Tokens:
        """Refuse any text.

        Raises:
            UserError: Always.
        """
        raise UserError(f"tokenizer {IDS!r} takes token ids, not the text {text!r}")

    def name_of(self, symbol: Symbol) -> str:
        """The id, as in the file."""
        return str(symbol)


class HuggingFace:
    """The tokenizer of a ``tokenizer.json``; needs the optional package ``tokenizers``.

    Whatever the file says, no special tokens are added, nothing is truncated or padded, and no
    merges are left out by chance (``dropout``): a text has the same tokens whenever it is read.

    Args:
        path: Path of the file.

    Raises:
        UserError: If the package is missing or the file cannot be read.
    """

    def __init__(self, path: str):
        try:
            import tokenizers
        except ImportError:
            raise UserError(
                f"task.tokenizer {path} needs the package tokenizers: pip install tokenizers"
            ) from None
        check_file(path)
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(path)
        except Exception as error:  # the package raises bare Exceptions
            raise UserError(f"task.tokenizer {path} cannot be read: {error}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        if getattr(self._tokenizer.model, "dropout", None) is not None:
            self._tokenizer.model.dropout = None
        self.unknown: Symbol | None = _unknown_of(json.loads(self._tokenizer.to_str())["model"])

    def encode(self, text: str) -> Tokens:
        """The pieces of a text."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        starts, stops = zip(*encoding.offsets, strict=True) if encoding.offsets else ((), ())
        return Tokens(encoding.tokens, starts, stops)

    def name_of(self, symbol: Symbol) -> str:
        """The piece, as the tokenizer spells it."""
        return str(symbol)


def _unknown_of(model: Mapping[str, Any]) -> str | None:
    """Piece for what a model of a ``tokenizer.json`` does not know, which Unigram has by number."""
    number = model.get("unk_id")
    return model.get("unk_token") if number is None else model["vocab"][number][0]


BUILT_IN: dict[str, type] = {IDS: Ids, "whitespace": Whitespace, "bytes": Bytes}


def is_file(name: str) -> bool:
    """Whether the name of a tokenizer is the path of a ``tokenizer.json``."""
    return name not in BUILT_IN and name.endswith(".json")


def check_file(name: str) -> None:
    """Check that a ``tokenizer.json`` is there.

    Raises:
        UserError: If it is not.
    """
    if not pathlib.Path(name).is_file():
        raise UserError(f"task.tokenizer {name}: there is no such file")


def tokenizer_of(name: str) -> Tokenizer:
    """A tokenizer by its name, or by the path of a ``tokenizer.json``.

    Raises:
        UserError: If the name is unknown, or the file or the package is missing.
    """
    if is_file(name):
        return HuggingFace(name)
    return BUILT_IN[choose("task.tokenizer (or path of a tokenizer.json)", name, BUILT_IN)]()


class Vocabulary:
    """A mapping between symbols and ids.

    Args:
        symbols: All symbols, of one type.
    """

    def __init__(self, symbols: Iterable[Symbol]):
        self._symbols = sorted(symbols)
        first = len(NAMES)
        self._ids = {symbol: first + i for i, symbol in enumerate(self._symbols)}

    def __len__(self) -> int:
        """Number of ids, including those of `NAMES`."""
        return len(NAMES) + len(self._symbols)

    def ids(self, symbols: Iterable[Symbol]) -> list[int]:
        """Ids of symbols; `UNKNOWN` for symbols outside the vocabulary."""
        return [self._ids.get(symbol, UNKNOWN) for symbol in symbols]

    def symbol(self, token: int) -> Symbol | None:
        """The symbol of an id; None for the ids of `NAMES`."""
        return None if token < len(NAMES) else self._symbols[token - len(NAMES)]
