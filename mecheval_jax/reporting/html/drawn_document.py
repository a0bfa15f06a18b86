"""A document with values below its tokens: roles, restored shares, weights of a query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mecheval_jax.evaluation.config import CORRUPTION, RESTORE
from mecheval_jax.reporting.html import shades
from mecheval_jax.reporting.numbers import interval, number
from mecheval_jax.reporting.words import site_words
from mecheval_jax.store.row_selection import attributions, residual_stream
from mecheval_jax.tasks.example import Example

WHOLE = 48
"""Number of tokens up to which a document is shown whole; of a longer one, parts near roles."""

NEAR = 3
"""Number of tokens that are shown on both sides of a token in a role."""

MOST_READ = 6
"""Number of matrices whose weights are shown below a document."""


@dataclass(frozen=True)
class Value:
    """A value below a token.

    Attributes:
        text: Number as text; empty if there is none.
        note: Description of the number, which a browser shows when the mouse is over it.
        style: CSS of the background and the text of the number.
    """

    text: str = ""
    note: str = ""
    style: str = ""


@dataclass(frozen=True)
class Token:
    """A token of a drawn document, or a gap.

    Attributes:
        word: Name of the token.
        roles: Roles of the token.
        values: Values below the token, one for each line.
        left_out: Number of tokens that a gap stands for; 0 for a token.
    """

    word: str = ""
    roles: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()
    left_out: int = 0


@dataclass(frozen=True)
class DrawnDocument:
    """A document, token by token.

    Attributes:
        lines: Name of each line of values.
        tokens: Tokens and gaps.
    """

    lines: tuple[str, ...]
    tokens: tuple[Token, ...]


def drawn(
    document: Example, lines: Mapping[str, Mapping[int, Value]] | None = None
) -> DrawnDocument:
    """A document with lines of values below its tokens.

    Args:
        document: Document to draw.
        lines: Values by the position of their token, by the name of the line.
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
    """Shares that the residual stream restores at the document's roles, a line for each site.

    Args:
        document: Document with roles.
        table: Rows of ``interchange.csv`` at one step.
    """
    rows = attributions(table, CORRUPTION, RESTORE)
    lines: dict[str, dict[int, Value]] = {}
    for row in residual_stream(rows).dropna(subset="value").to_dict("records"):
        at = document.place(row["role"])
        if at is not None:
            place = site_words(row["site"])
            note = f"{place}, at the {row['role']}: {number(row['value'])} {interval(row)}"
            value = Value(number(row["value"]), note, shades.attribution(row["value"]))
            lines.setdefault(place, {})[at] = value
    return lines


def read_lines(document: Example, rows: pd.DataFrame) -> dict[str, dict[int, Value]]:
    """Weights with which the mixers read tokens at the document's query, a line for each matrix.

    Colours are shares of the line's largest entry: magnitudes differ between mixers.

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
    """Whether rows of ``analyses/attention.csv`` belong to a document."""
    words: dict[int, Any] = dict(zip(rows["source"], rows["source_token"].astype(str), strict=True))
    return [words.get(at) for at in range(len(document.words))] == list(document.words)
