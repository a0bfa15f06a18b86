"""Put what a sweep of hybrids found into the page of experiments: which layers bind, which read.

    python -m tools.hybrid_results --sweep=WORKDIR

for a sweep of configs/hybrids.py whose members have the analysis ``components``. Adds a row for
each layer of each member to docs/results/memory/hybrids.csv, and writes a line for each member into
docs/experiments.md. Without --sweep the page alone is written, from the table there.
"""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pandas as pd
from absl import flags

from tools import blocks
from tools.blocks import put_block, save_figure, table_lines
from tools.sweep_results import accuracy_of, learned, members_of, merged

ABLATION = "resample"
"""A layer is replaced by what it gives in another document, the least unusual of the ablations."""

NEEDED = 0.5
"""A layer is needed where less than this share of the answer is left without it: the upper end of
the interval."""

PLACES = "pair", "question"
MEMBER = ["mixer", "seed"]
LAYER = [*MEMBER, "layer"]
COLUMNS = (*MEMBER, "step", "accuracy", "accuracy_low", "accuracy_high", "floor", "verdict")
COLUMNS += ("layer", *(f"{place}{end}" for place in PLACES for end in ("", "_low", "_high")))

TABLE = pathlib.Path("docs", "results", "memory", "hybrids.csv")
MARKS = "<!-- hybrids: written by tools/hybrid_results.py -->", "<!-- /hybrids -->"


def rows_of(workdir: str) -> Iterator[dict[str, Any]]:
    """A row for each layer of each member that has the analysis, in the order of the sweep."""
    from mecheval_jax.files import read_table

    for run, row in members_of(workdir):
        path = run.analysis("components")
        if not path.exists():
            continue
        found = read_table(path)
        found = found[(found["metric"] == "kept") & (found["ablation"] == ABLATION)]
        mixer = json.loads(row["arm"])["model.mixer"]
        for layer in range(mixer.count(",") + 1):
            own = found[found["component"].str.startswith(f"layer {layer} (")].set_index("where")
            ends = {
                f"{place}{end}": own.loc[place, column]
                for place in PLACES
                for end, column in (("", "value"), ("_low", "low"), ("_high", "high"))
            }
            member = {name: row.get(name) for name in COLUMNS}
            yield member | {"mixer": mixer, "layer": layer} | ends


def lines_of(table: pd.DataFrame) -> Iterator[str]:
    """Markdown: a line for each member, with the share of the answer left without each layer."""
    heads = ["layers", "seed", "accuracy [95 %]", "verdict", "left at the pair"]
    lines = []
    for (mixer, seed), rows in table.groupby(MEMBER, sort=False):
        first = rows.iloc[0]
        left = (", ".join(f"{share:.2f}" for share in rows[place]) for place in PLACES)
        needed = (_needed(rows, place) for place in PLACES)
        cells = [f"`{mixer}`", str(seed), accuracy_of(first)]
        lines.append([*cells, f"`{first['verdict']}`", *left, *needed])
    yield from table_lines([*heads, "left at the question", "binds", "reads"], lines)


def _needed(rows: pd.DataFrame, place: str) -> str:
    """The layers that are needed at a place, if the model has an answer that could be lost."""
    if not learned(rows.iloc[0]):
        return "-"
    names = rows["mixer"].iloc[0].split(",")
    layers = rows.loc[rows[f"{place}_high"] < NEEDED, "layer"]
    return ", ".join(f"{layer} ({names[layer]})" for layer in layers) or "none alone"


def put(root: pathlib.Path) -> None:
    """Write the table of hybrids into the page of experiments."""
    from mecheval_jax.files import read_table

    lines = lines_of(read_table(root / TABLE))
    put_block(root / "docs" / "experiments.md", list(lines), MARKS)


def draw(root: pathlib.Path) -> None:
    """Draw the figure of the table beside it: what is left of the answer without each layer."""
    from mecheval_jax.files import read_table
    from mecheval_jax.reporting.figures.dot_figures import dots_in_lines

    table = read_table(root / TABLE)
    dots = [
        {
            "name": f"{row['mixer']}, seed {row['seed']}",
            "panel": f"left without it at the {place}",
            "kind": f"layer {row['layer']}",
            "value": row[place],
            "low": row[f"{place}_low"],
            "high": row[f"{place}_high"],
        }
        for _, row in table.iterrows()
        if learned(row)
        for place in PLACES
    ]
    save_figure(dots_in_lines, pd.DataFrame(dots), (root / TABLE).with_suffix(".svg"))


def main() -> None:
    """Run the program."""
    from mecheval_jax.console import say
    from mecheval_jax.files import write_table

    root = blocks.root()
    if flags.FLAGS.sweep:
        rows = pd.DataFrame(list(rows_of(flags.FLAGS.sweep)), columns=list(COLUMNS))
        rows = merged(root / TABLE, rows, LAYER)
        write_table(root / TABLE, rows)
        say(f"{rows.groupby(MEMBER).ngroups} hybrids in {root / TABLE}")
    draw(root)
    put(root)


if __name__ == "__main__":
    flags.DEFINE_string("sweep", None, "Folder of a sweep, finished or under way.")
    blocks.run(main)
