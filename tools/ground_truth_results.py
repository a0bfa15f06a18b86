"""Put what a ladder of known circuits found into the page on ground truth.

    python -m tools.ground_truth_results --ladder=WORKDIR

for a workdir of `launch.ground_truth` with the rung ``edges``, finished or under way. Writes a row
for each kind of planted model and method to docs/results/ground_truth/edges.csv, and from this the
table of docs/ground_truth.md; without --ladder the page alone.
"""

import pathlib
from collections.abc import Iterator

import pandas as pd
from absl import flags

from mecheval_jax import command_line
from tools.blocks import put_block, table_lines

TABLE = pathlib.Path("docs", "results", "ground_truth", "edges.csv")
MARKS = "<!-- edges: written by tools/ground_truth_results.py -->", "<!-- /edges -->"


def summary_of(workdir: pathlib.Path) -> pd.DataFrame:
    """Median and least AUROC of the models of each kind, by method."""
    from mecheval_jax.files import read_json

    parts = sorted((workdir / "parts" / "edges").glob("*.json"))
    rows = pd.DataFrame(
        [row for path in parts for row in read_json(path, {"rows": [dict]})["rows"]]
    )
    by_method = rows.groupby(["kind", "edges", "method"], sort=False)["value"]
    return by_method.agg(models="size", median="median", least="min").reset_index()


def lines_of(table: pd.DataFrame) -> Iterator[str]:
    """Markdown: a line for each kind, with the median and the least of each method."""
    methods = list(table["method"].unique())
    lines = []
    for (kind, edges), found in table.groupby(["kind", "edges"], sort=False):
        by_method = found.set_index("method")
        cells = (
            f"{row['median']:.2f}, {row['least']:.2f}"
            for _, row in by_method.loc[methods].iterrows()
        )
        lines.append([kind, f"{edges}", f"{by_method['models'].iloc[0]}", *cells])
    yield from table_lines(["planted", "edges", "models", *(f"`{m}`" for m in methods)], lines)


def put(root: pathlib.Path) -> None:
    """Write the table into the page."""
    from mecheval_jax.files import read_table

    lines = lines_of(read_table(root / TABLE))
    put_block(root / "docs" / "ground_truth.md", list(lines), MARKS)


def main() -> None:
    """Run the program."""
    from mecheval_jax.files import write_table

    root = pathlib.Path(flags.FLAGS.root)
    if flags.FLAGS.ladder:
        (root / TABLE).parent.mkdir(parents=True, exist_ok=True)
        write_table(root / TABLE, summary_of(pathlib.Path(flags.FLAGS.ladder)))
    put(root)


if __name__ == "__main__":
    flags.DEFINE_string("ladder", None, "Folder of a ladder, finished or under way.")
    here = str(pathlib.Path(__file__).parents[1])
    flags.DEFINE_string("root", here, "Folder that holds docs.")
    command_line.run(main)
