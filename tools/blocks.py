"""Parts of pages that programs write: what stands between two marks."""

import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from absl import flags

from mecheval_jax import command_line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

T = TypeVar("T")


def table_lines(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table of cells, between empty lines."""
    from mecheval_jax.reporting.table import markdown_lines

    yield from ("", *markdown_lines(heads, rows), "")


def put_block(page: pathlib.Path, lines: Sequence[str], marks: tuple[str, str]) -> None:
    """Replace what stands between the marks of a page."""
    from mecheval_jax.files import write_text

    write_text(page, with_block(page.read_text(), lines, marks, str(page)))


def asked(page: pathlib.Path, kind: str, parse: Callable[[str], T]) -> dict[tuple[str, str], T]:
    """What a page asks for: blocks whose own first mark, ``<!-- KIND: ASKED -->``, says it.

    Args:
        page: Path of the page.
        kind: Kind of the blocks.
        parse: Function that reads what is asked, and raises `UserError` where it cannot.

    Returns:
        The marks of each block with what it asks for.

    Raises:
        UserError: If a mark has another form or stands there twice, or a block has no end.
    """
    from mecheval_jax.errors import UserError

    found: dict[tuple[str, str], T] = {}
    end = f"<!-- /{kind} -->"
    _, *parts = re.split(rf"^(?=<!-- *{kind}\b)", page.read_text(), flags=re.MULTILINE)
    for part in parts:
        begin = part.partition("\n")[0]
        form = re.fullmatch(f"<!-- {kind}: (.*) -->", begin)
        try:
            if form is None or (begin, end) in found or end not in part:
                raise UserError(
                    f"a block begins with a line <!-- {kind}: ... --> of its own, which no other "
                    f"has, and ends with {end} before the next one"
                )
            found[begin, end] = parse(form[1])
        except UserError as error:
            raise UserError(f"{page}: {begin}: {error}") from error
    return found


def with_block(text: str, lines: Sequence[str], marks: tuple[str, str], name: str) -> str:
    """The text of a page of that name, with other lines between its marks."""
    from mecheval_jax.errors import UserError

    begin, end = marks
    before, begun, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (begun and ended):
        raise UserError(f"{name} has no lines {begin} and {end}: what is written stands between")
    return "\n".join([before + begin, *lines, end + after])


def save_figure(draw: Callable[..., "Figure"], table: "pd.DataFrame", path: pathlib.Path) -> None:
    """Draw a table, and write the figure as an SVG of that path."""
    from mecheval_jax.reporting.figures.look import Look, looking
    from mecheval_jax.reporting.figures.saving import save

    with looking(Look(formats=("svg",))):
        save(draw(table), path.parent, path.stem)


def run(main: Callable[[], None]) -> None:
    """Run a tool that writes into pages; its flag --root is the folder that holds them."""
    here = str(pathlib.Path(__file__).parents[1])
    flags.DEFINE_string("root", here, "Folder that holds README.md and docs.")
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS["root"])
    command_line.run(main)


def root() -> pathlib.Path:
    """The folder that holds the pages."""
    return pathlib.Path(flags.FLAGS.root)
