"""Parts of pages that programs write: what stands between two marks."""

import pathlib
from collections.abc import Iterable, Iterator, Sequence


def table_lines(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table of cells, between empty lines."""
    from mecheval_jax.reporting.table import markdown_lines

    yield from ("", *markdown_lines(heads, rows), "")


def put_block(page: pathlib.Path, lines: Sequence[str], marks: tuple[str, str]) -> None:
    """Replace what stands between the marks of a page."""
    from mecheval_jax.files import write_text

    write_text(page, with_block(page.read_text(), lines, marks, str(page)))


def with_block(text: str, lines: Sequence[str], marks: tuple[str, str], name: str) -> str:
    """The text of a page of that name, with other lines between its marks."""
    from mecheval_jax.errors import UserError

    begin, end = marks
    before, begun, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (begun and ended):
        raise UserError(f"{name} has no lines {begin} and {end}: what is written stands between")
    return "\n".join([before + begin, *lines, end + after])
