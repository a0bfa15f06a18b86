"""Tables on screens of any width: side by side if they fit, otherwise one value a line."""

from rich.console import Console
from rich.table import Table

from mecheval_jax.reporting.terminal.text import Text

FOLDED = 24
"""Number of characters from which on a cell's words may continue on the next line."""


def least_width(table: Table) -> int:
    """Width of a screen, in columns, at which no number and no short word is broken."""
    width = table.padding[1] * len(table.columns)
    for column in table.columns:
        texts = [str(column.header), *map(str, column.cells)]
        own = max(Text(line).cell_len for text in texts for line in text.split("\n"))
        width += min(own, FOLDED) if column.overflow == "fold" else own
    return width


def print_table(console: Console, table: Table) -> None:
    """Print a table or, if it is wider than the screen, a block of lines for each of its rows.

    A block has one line for each cell that is not empty, with the name of its column. Columns that
    are squeezed would break numbers over two lines, and 0.93 could be read as 0.9.

    Args:
        console: Console of the screen.
        table: Table without borders, from `tables.plain_table`.
    """
    if least_width(table) <= console.width:
        console.print(table)
        return
    if table.title:
        console.print(table.title if isinstance(table.title, Text) else Text(table.title))
    broken = (str(column.header) for column in table.columns)
    heads = [head.replace("\n/", "/").replace("\n", " ") for head in broken]
    room = max(map(len, heads[1:]), default=0)
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        first, *rest = (" ".join(str(cell).split("\n")) for cell in cells)
        console.print(Text(f"{heads[0]} {first}".strip(), style="bold"))
        for head, text in zip(heads[1:], rest, strict=True):
            if text:
                console.print(Text(f"  {head:<{room}}  {text}"))
