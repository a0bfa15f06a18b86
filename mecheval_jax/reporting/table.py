"""A table of a report: on the page, and in files as CSV, Markdown and LaTeX.

Page and files are made from the same rows, so their numbers cannot differ. The CSV file has all
digits, and columns for the ends of intervals; the other forms have the text that readers see.
"""

import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mecheval_jax.errors import one_line
from mecheval_jax.files import make_folder, write_table, write_text
from mecheval_jax.reporting.numbers import MISSING, interval


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: Field of the rows.
        head: Title of the column; the field's name, with blanks, if empty.
        form: Function that gives the text of a number; None for a column of words.
        ends: Whether the fields ``NAME_low`` and ``NAME_high`` hold an interval of the number.
        link: Field with the address of a link; empty if there are no links.
        star: Field that says whether the number gets a star; empty if no number does.
    """

    name: str
    head: str = ""
    form: Callable[[Any], str] | None = None
    ends: bool = False
    link: str = ""
    star: str = ""

    @property
    def title(self) -> str:
        """Title of the column."""
        return self.head or self.name.replace("_", " ")

    @property
    def ends_names(self) -> tuple[str, str]:
        """Fields that hold the ends of the interval."""
        return f"{self.name}_low", f"{self.name}_high"


def with_ends(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A row with ``low`` and ``high`` also where a `Column` of this name looks for its ends."""
    return {**row, f"{name}_low": row["low"], f"{name}_high": row["high"]}


@dataclass(frozen=True)
class TableCell:
    """The content of one cell.

    Attributes:
        text: Text of the cell.
        value: Number with all digits; empty if there is none.
        interval: Interval of the number; empty if there is none.
        link: Address of a link; empty if there is none.
        numeric: Whether the column holds numbers.
    """

    text: str
    value: str
    interval: str
    link: str
    numeric: bool


@dataclass(frozen=True)
class Table:
    """Rows under columns.

    Attributes:
        name: Name of the table's files.
        caption: Caption in one sentence.
        columns: Columns from left to right.
        rows: Values of each row by the names of the columns.
        of: Field that names the run of a row; empty if rows belong to no run.
        bar: Field whose shares are drawn as bars; empty if there are none.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    of: str = ""
    bar: str = ""

    def lines(self) -> Iterator[tuple[str, list[TableCell]]]:
        """The run and the cells of each row."""
        for row in self.rows:
            yield str(row.get(self.of, "")), [_cell(column, row) for column in self.columns]

    def frame(self) -> pd.DataFrame:
        """The values, with the ends of intervals in columns of their own."""
        names = []
        for column in self.columns:
            names += [column.name, *(column.ends_names if column.ends else ())]
        return pd.DataFrame(
            [{name: row.get(name) for name in names} for row in self.rows], None, names
        )

    def texts(self) -> pd.DataFrame:
        """The texts that readers see, with intervals behind their numbers."""
        lines = [
            [f"{cell.text} {cell.interval}".rstrip() for cell in cells] for _, cells in self.lines()
        ]
        return pd.DataFrame(lines, columns=[column.title for column in self.columns])

    def markdown(self) -> str:
        """The table in Markdown, with numbers aligned to the right."""
        texts = self.texts()
        rule = ["---:" if column.form else "---" for column in self.columns]
        heads, *lines = (map(_in_markdown, line) for line in [texts.columns, *texts.to_numpy()])
        return "".join(f"{line}\n" for line in markdown_lines(heads, lines, rule))

    def latex(self) -> str:
        """The table in LaTeX, for the package booktabs, with its caption."""
        texts = self.texts().map(one_line)
        texts.columns = [r"\textbf{" + _in_latex(name) + "}" for name in texts.columns]
        body = texts.map(_in_latex).to_latex(
            index=False,
            escape=False,
            column_format="".join("r" if column.form else "l" for column in self.columns),
            caption=_in_latex(self.caption),
            label=f"tab:{self.name}",
            position="t",
        )
        return body.replace("\\caption", "\\centering\n\\caption", 1)

    def write(self, folder: pathlib.Path) -> None:
        """Write ``NAME.csv``, ``NAME.md`` and ``NAME.tex``."""
        make_folder(folder)
        write_table(folder / f"{self.name}.csv", self.frame())
        self.write_texts(folder)

    def write_texts(self, folder: pathlib.Path) -> None:
        """Write ``NAME.md`` and ``NAME.tex`` into a folder that is there."""
        write_text(folder / f"{self.name}.md", self.markdown())
        write_text(folder / f"{self.name}.tex", self.latex())


def _cell(column: Column, row: Mapping[str, Any]) -> TableCell:
    value = row.get(column.name)
    known = value is not None and not pd.isna(value)
    link = str(row.get(column.link) or "") if column.link else ""
    if column.form is None:
        return TableCell(str(value) if known else MISSING, "", "", link, False)
    ends = dict(zip(("low", "high"), map(row.get, column.ends_names), strict=True))
    return TableCell(
        column.form(value) + "*" * (str(row.get(column.star)) == "True") if known else MISSING,
        repr(float(value)) if known else "",
        interval(ends, column.form) if column.ends and known else "",
        link,
        True,
    )


def markdown_lines(
    heads: Iterable[str], lines: Iterable[Iterable[str]], rule: Sequence[str] | None = None
) -> list[str]:
    """The lines of a table in Markdown, from cells in Markdown.

    Args:
        heads: Heads of the columns.
        lines: Cells of each line.
        rule: Rule under each head, which says how a column is aligned; to the left if None.
    """
    named = list(heads)
    every = (named, rule or ["---"] * len(named), *lines)
    return [f"| {' | '.join(cells)} |" for cells in every]


def _in_markdown(text: str) -> str:
    """A text on one line, in which no Markdown or HTML has an effect."""
    for character in "\\`*_{}[]<>|#&":
        text = text.replace(character, f"\\{character}")
    return one_line(text)


_LATEX = {
    **{character: rf"\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after a line break it would begin an option
}


def _in_latex(text: str) -> str:
    """A text in which no command of LaTeX has an effect."""
    return "".join(_LATEX.get(character, character) for character in text)
