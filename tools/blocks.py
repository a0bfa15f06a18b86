"""Parts of pages that programs write: what stands between two marks."""

import pathlib
from collections.abc import Iterable, Iterator, Sequence


def table_lines(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table of cells, between empty lines."""
    table = (heads, ["---"] * len(heads), *rows)
    yield from ("", *(f"| {' | '.join(cells)} |" for cells in table), "")


def put_block(page: pathlib.Path, lines: Sequence[str], marks: tuple[str, str]) -> None:
    """Replace what stands between the marks of a page."""
    from mecheval_jax.errors import UserError
    from mecheval_jax.files import write_text

    begin, end = marks
    before, begun, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not (begun and ended):
        raise UserError(f"{page} has no lines {begin} and {end}: what is written stands between")
    write_text(page, "\n".join([before + begin, *lines, end + after]))
