"""A text that is written word by word and knows where its words stand, and files of such texts."""

import json
import pathlib
import random
import string
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mecheval_jax.files import write_text

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
"""Folder of a file that comes with the package."""

RUNS = ROOT / "runs"
"""Folder of files that are made when they are wanted."""


class Writer:
    """A text under way."""

    def __init__(self):
        self.text = ""

    def word(self, word: str) -> list[int]:
        """Add a word after a space; its span."""
        start = len(self.text) + 1 if self.text else 0
        self.text = f"{self.text} {word}" if self.text else word
        return [start, start + len(word)]

    def sentence(self, pattern: str, values: Mapping[str, str]) -> dict[str, list[int]]:
        """Add the words of a pattern; the spans of its fields, and of its ``opening``.

        Args:
            pattern: Words and fields, such as ``order {number} to {city} .``
            values: A word for each field.
        """
        spans: dict[str, list[int]] = {}
        for i, part in enumerate(pattern.split()):
            field = next(name for _, name, _, _ in string.Formatter().parse(part))
            span = self.word(part if field is None else values[field])
            spans |= {} if field is None else {field: span}
            spans |= {"opening": span} if i == 0 else {}
        return spans

    def ask(
        self,
        noted: Sequence[Mapping[str, list[int]]],
        key: str,
        value: str,
        count: int,
        draw: random.Random,
    ) -> list[dict[str, Any]]:
        """Add questions about some sentences, each with its answer; the queries of a document.

        Args:
            noted: Spans of the sentences that may be asked.
            key: Field that is asked.
            value: Field that is the answer.
            count: Number of questions.
            draw: Random numbers that choose the sentences.
        """  # fmt: skip
        queries = []
        for spans in draw.sample(noted, count):
            asked, answer = (self.text[slice(*spans[field])] for field in (key, value))
            places = {"key": spans[key], "value": spans[value]}
            queries.append({"query": self.word(asked), "answer": self.word(answer), **places})
            self.word(".")
        return queries


def write_documents(
    make: Callable[[random.Random], dict[str, Any]], documents: int, default: pathlib.Path
) -> None:
    """Write documents, the same at every call, to the first argument of the program.

    Args:
        make: Function that makes one document.
        documents: Number of documents.
        default: Path where no argument is given.
    """
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    output.parent.mkdir(parents=True, exist_ok=True)
    draw = random.Random(0)
    lines = (json.dumps(make(draw), separators=(",", ":")) for _ in range(documents))
    write_text(output, "".join(f"{line}\n" for line in lines))
