"""What a reader of a page sees: its words, and its tables; and pages that programs write."""

import html.parser
import re

from tests.support.compilation import ROOT


def words_of(page: str) -> str:
    """The text of a page, without style, script and figures, with single blanks."""
    for tag in ("style", "script", "svg"):
        page = re.sub(rf"<{tag}\b.*?</{tag}>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))


class _Tables(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tables, self._rows, self._in_cell = {}, None, False

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "table":
            self._rows = self.tables.setdefault(values.get("data-table"), [])
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in ("td", "th") and self._rows:
            self._rows[-1].append([values.get("data-v"), ""])
            self._in_cell = True
        elif tag == "small" and self._in_cell:
            self._rows[-1][-1][1] += " "

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if self._in_cell:
            self._rows[-1][-1][1] += data


def tables_of(page: str) -> dict[str, list[list[tuple[str | None, str]]]]:
    """Name of a table to its rows, the heads first: number behind each cell, and its text.

    Tables of one name, which are of several runs, follow one another.
    """
    parser = _Tables()
    parser.feed(page)
    return {
        name: [[(value, text.strip()) for value, text in row] for row in rows]
        for name, rows in parser.tables.items()
    }


def check_written(folder, page, tables, put):
    """Check that a page of the project is what `put` makes of its tables, in an empty folder."""
    for path in (page, *tables):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes((ROOT / path).read_bytes())
    put(folder)
    assert (folder / page).read_text() == (ROOT / page).read_text()
