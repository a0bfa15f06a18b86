"""Judge many planted models, and write into docs/verdict.md how many verdicts were right.

    python -m tools.prove_verdict --workdir=runs/proof [--seeds=200] [--kinds=induction,sibling]

Every kind of `tests.support.planted_kinds` is planted with each seed and judged on documents of its
own; a line of WORKDIR/KIND.csv has what was found, and the page counts all lines. The same command
goes on where it was broken off, and several may share a workdir if each has kinds of its own.
--seeds=0 writes the page alone. Lines of an earlier rule stay what they were: take another workdir
for another rule. 200 seeds of all kinds take one core about an hour.
"""

import csv
import io
import itertools
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from absl import flags

from mecheval_jax import command_line
from tests.support import compilation
from tools.blocks import put_block, table_lines

if TYPE_CHECKING:
    from tests.support.planted_kinds import Kind

# Compiled as tests are, since each program runs briefly; jax reads it when it is imported.
os.environ.update(compilation.settings())

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the lines.", required=True)
SEEDS = flags.DEFINE_integer("seeds", 200, "Models of each kind.", lower_bound=0)
NAMES = flags.DEFINE_list("kinds", [], "Kinds to judge; all if empty.")
PAGE = flags.DEFINE_string("page", "docs/verdict.md", "Page that holds the table.")

MARKS = "<!-- planted: written by tools/prove_verdict.py -->", "<!-- /planted -->"
FIELDS = ("seed", "grade", "verdict", "layer", "binding", "reason")
SHARED = ("heuristic: ", "untrained: ")
"""Beginnings of names of kinds that are one line of the table together."""


def lines_of(path: pathlib.Path) -> dict[int, dict[str, str]]:
    """What was found so far, by seed; a line that was broken off does not count."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        whole = [row for row in csv.DictReader(file) if None not in row.values()]
    return {int(row["seed"]): row for row in whole}


def prove(path: pathlib.Path, name: str, seeds: int) -> Counter[str]:
    """Judge those seeds of a kind that the file lacks; verdicts of each grade so far."""
    from tests.support.planted_kinds import KINDS

    kind, known = KINDS[name], lines_of(path)
    missing = [seed for seed in range(seeds) if seed not in known]
    if missing:
        _add(path, kind, known, missing)
    return Counter(row["grade"] for row in known.values())


def _add(
    path: pathlib.Path, kind: "Kind", known: dict[int, dict[str, Any]], seeds: list[int]
) -> None:
    """Judge models with those seeds, each written when it is known."""
    from mecheval_jax.files import write_text

    # Whole and at once, without a line that was broken off: what is known outlives any end.
    before = io.StringIO()
    table = csv.DictWriter(before, FIELDS, lineterminator="\n")
    table.writeheader()
    table.writerows(known.values())
    write_text(path, before.getvalue())
    with path.open("a", newline="") as file:
        table = csv.DictWriter(file, FIELDS, lineterminator="\n")
        for seed in seeds:
            found = kind.judge(seed)
            known[seed] = {"seed": seed, "grade": kind.grade(found)} | {
                field: getattr(found, field) for field in FIELDS[2:]
            }
            table.writerow(known[seed])
            file.flush()


def table_of(counts: Mapping[str, Counter[str]]) -> Iterable[str]:
    """Lines of the table in the page."""
    from tests.support.planted_kinds import ABSTAINED, RIGHT, WRONG

    def together(name: str) -> str:
        return next((shared for shared in SHARED if name.startswith(shared)), name)

    lines = []
    for begin, names in itertools.groupby(counts, together):
        several = list(names)
        total = sum((counts[name] for name in several), Counter())
        words = ", ".join(name.removeprefix(begin) for name in several)
        title = begin.replace(": ", f" ({words})") if begin in SHARED else begin
        numbers = (total.total(), *(total[grade] for grade in (RIGHT, ABSTAINED, WRONG)))
        lines.append([title, *(f"{number:,}" for number in numbers)])
    return table_lines(["planted", "models", "right", "undecided", "wrong"], lines)


def main():
    """Run the program."""
    compilation.trace_quickly()
    from mecheval_jax.console import say
    from mecheval_jax.errors import choose
    from tests.support.planted_kinds import KINDS

    for name in NAMES.value:
        choose("kind", name, KINDS)
    folder, counts = pathlib.Path(WORKDIR.value), {}
    folder.mkdir(parents=True, exist_ok=True)
    for name in KINDS:
        file = name.replace(": ", "_").replace(", ", "_").replace(" ", "_")
        asked = name in NAMES.value or not NAMES.value
        counts[name] = prove(folder / f"{file}.csv", name, SEEDS.value if asked else 0)
        if asked:
            say(f"{name}: {dict(counts[name])}")
    put_block(pathlib.Path(PAGE.value), list(table_of(counts)), MARKS)


if __name__ == "__main__":
    command_line.run(main)
