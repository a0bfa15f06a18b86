"""A document with what stands at its tokens: roles, restored shares, what a query reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mecheval_jax.evaluation.verdict.evidence import CORRUPTION
from mecheval_jax.reporting.example import Example
from mecheval_jax.reporting.html import shades
from mecheval_jax.reporting.terminal.tables import attributions, interval, number, site_words

WHOLE = 48
"""Tokens up to which a document is shown whole; of a longer one what lies near its roles."""

NEAR = 3
"""Tokens that are shown on both sides of one in a role."""

MOST_READ = 6
"""Matrices of which a document shows what is read."""


@dataclass(frozen=True)
class Value:
    """What stands below a token.

    Attributes:
        text: Number as it is shown; empty where there is none.
        note: What the number is, for who points at it.
        style: Colours of the place.
    """

    text: str = ""
    note: str = ""
    style: str = ""


@dataclass(frozen=True)
class Token:
    """A token of a drawn document, or what was left out.

    Attributes:
        word: Name of the token.
        roles: Roles of the token.
        values: Values below it, a line each.
        left_out: Number of tokens that were left out in this place; 0 for a token.
    """

    word: str = ""
    roles: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()
    left_out: int = 0


@dataclass(frozen=True)
class DrawnDocument:
    """A document, token by token.

    Attributes:
        lines: What each line of values below the words is.
        tokens: The tokens, and gaps.
    """

    lines: tuple[str, ...]
    tokens: tuple[Token, ...]


def drawn(
    document: Example, lines: Mapping[str, Mapping[int, Value]] | None = None
) -> DrawnDocument:
    """A document with lines of values below its tokens.

    Args:
        document: The document.
        lines: Name of a line to its values, by the position of the token.
    """
    lines = lines or {}
    tokens: list[Token] = []
    last = -1
    for at in _shown(document):
        if at > last + 1:
            tokens.append(Token(left_out=at - last - 1))
        values = tuple(line.get(at, Value()) for line in lines.values())
        tokens.append(Token(document.words[at], document.roles.get(at, ()), values))
        last = at
    if last + 1 < len(document.words):
        tokens.append(Token(left_out=len(document.words) - last - 1))
    return DrawnDocument(tuple(lines), tuple(tokens))


def _shown(document: Example) -> Sequence[int]:
    count = len(document.words)
    if count <= WHOLE:
        return range(count)
    near = {at + step for at in (0, *document.roles) for step in range(-NEAR, NEAR + 1)}
    return sorted(at for at in near if 0 <= at < count)


def restored_lines(document: Example, table: pd.DataFrame) -> dict[str, dict[int, Value]]:
    """What the residual stream restores at the document's roles, a line for each site.

    Args:
        document: Document with roles.
        table: Rows of ``interchange.csv`` at one step.
    """
    rows = attributions(table, CORRUPTION, "restore")
    last = rows["layer"].max()
    stream = rows[
        (rows["component"] == "block_input")
        | ((rows["component"] == "block_output") & (rows["layer"] == last))
    ]
    lines: dict[str, dict[int, Value]] = {}
    for row in stream.dropna(subset="value").to_dict("records"):
        at = document.place(row["role"])
        if at is not None:
            place = site_words(row["site"])
            note = f"{place}, at the {row['role']}: {number(row['value'])} {interval(row)}"
            value = Value(number(row["value"]), note, shades.attribution(row["value"]))
            lines.setdefault(place, {})[at] = value
    return lines


def read_lines(document: Example, rows: pd.DataFrame) -> dict[str, dict[int, Value]]:
    """What the document's query reads in each mixer, a line for each matrix.

    Colours are shares of the line's largest entry: sizes cannot be compared between mixers.

    Args:
        document: Document with a query.
        rows: Rows of ``analyses/attention.csv``.
    """
    query = document.questions[0].position
    lines: dict[str, dict[int, Value]] = {}
    for name, own in rows[rows["destination"] == query].groupby("matrix", sort=False):
        largest = own["value"].abs().max() or 1.0
        lines[str(name)] = {
            int(row["source"]): Value(
                number(row["value"]) if abs(row["value"]) >= 0.1 * largest else "",
                f"{name}: reads {row['source_token']} with {row['value']:.3f}",
                shades.share(abs(row["value"]) / largest),
            )
            for row in own.to_dict("records")
        }
        if len(lines) == MOST_READ:
            break
    return lines


def fits(document: Example, rows: pd.DataFrame) -> bool:
    """Whether rows of ``analyses/attention.csv`` are of a document."""
    words: dict[int, Any] = dict(zip(rows["source"], rows["source_token"].astype(str), strict=True))
    return [words.get(at) for at in range(len(document.words))] == list(document.words)
