"""Put what a ladder of known circuits found into the page on ground truth.

    python -m tools.ground_truth_results --ladder=WORKDIR

for a workdir of `launch.ground_truth`, finished or under way. Of the rung ``edges`` it writes a row
for each kind of model and method to docs/results/ground_truth/edges.csv, of the rung ``trained`` a
row for each model to trained.csv beside it, and from these the tables of docs/ground_truth.md; a
rung that the workdir lacks is left as it is. Without --ladder the page alone is written.
"""

import pathlib
from collections.abc import Callable, Iterator

import pandas as pd
from absl import flags

from tools import blocks
from tools.blocks import put_block, table_lines

FOLDER = pathlib.Path("docs", "results", "ground_truth")

COLUMNS = ("mixer", "trained_to", "seed", "accuracy", "rules_kept")
COLUMNS += ("verdict", "layer", "binding", "probability", "grade")
"""Columns of ``trained.csv``."""

MODEL = ("kind", "mixer", "trained_to", "seed")
"""Columns that tell models apart, of those that a rung has."""

WORDS = {
    "gated_delta_net,attention": "Gated DeltaNet, then attention",
    "gated_delta_net": "Gated DeltaNet",
    "mamba": "Mamba",
}
"""Names of architectures on the page."""


def rows_of(workdir: pathlib.Path, rung: str) -> pd.DataFrame:
    """Rows of the units of a rung that are finished.

    Raises:
        UserError: If a file is damaged, or two have the same model.
    """
    from mecheval_jax.errors import UserError
    from mecheval_jax.ground_truth.ladder import read_part

    found: dict[tuple, pathlib.Path] = {}
    rows = []
    for path in sorted((workdir / "parts" / rung).glob("*.json")):
        own = read_part(path, rung)
        rows += own
        for model in {tuple(row.get(name) for name in MODEL) for row in own}:
            if found.setdefault(model, path) != path:
                raise UserError(f"{found[model]} and {path} have the same model: remove one")
    return pd.DataFrame(rows)


def edges_of(rows: pd.DataFrame) -> pd.DataFrame:
    """AUROC of the models of each kind, and least share of an effect, by method.

    Columns: ``models``, ``median`` and ``least`` of the AUROC, ``low`` and ``high`` (medians of the
    ends of its intervals over documents; of random orders their central 95 %), and ``recovered``,
    the median share of its effect that a method gives to the known edge of which it gives least.
    """
    keys = ["kind", "edges", "method"]
    ranked = rows[rows["metric"] == "auroc"].groupby(keys, sort=False)
    table = ranked["value"].agg(models="size", median="median", least="min")
    table = table.join(ranked[["low", "high"]].median())
    shares = rows[rows["metric"] == "recovered"].groupby(keys)["value"].median()
    return table.join(shares.rename("recovered")).reset_index()


def trained_of(rows: pd.DataFrame) -> pd.DataFrame:
    """The models that were trained, in the order in which the ladder has them."""
    from mecheval_jax.ground_truth.models import TRAINED

    order = {pair: place for place, pair in enumerate(TRAINED)}
    places = [order[pair] for pair in zip(rows["mixer"], rows["trained_to"], strict=True)]
    ordered = rows.assign(place=places).sort_values(["place", "seed"], kind="stable")
    return ordered[list(COLUMNS)]


def edge_lines(table: pd.DataFrame) -> Iterator[str]:
    """Markdown: a line for each kind, with AUROC and share of each method."""
    methods = [method for method in table["method"].unique() if method != "random"]
    lines = []
    for (kind, edges), found in table.groupby(["kind", "edges"], sort=False):
        by_method = found.set_index("method")
        cells = (
            f"{row['median']:.2f} ({_share(row['recovered'])})"
            for _, row in by_method.loc[methods].iterrows()
        )
        chance = by_method.loc["random"]
        random = f"{chance['median']:.2f} [{chance['low']:.2f}, {chance['high']:.2f}]"
        lines.append([kind, f"{edges}", f"{by_method['models'].iloc[0]}", *cells, random])
    heads = ["model", "edges", "models", *(f"`{m}`" for m in methods), "random order"]
    yield from table_lines(heads, lines)


def _share(value: float) -> str:
    """A share in per cent, with its power of ten where it is nearly nothing."""
    return f"{100 * value:.0f} %" if value >= 0.005 else "0" if value < 1e-12 else f"{value:.0e}"


def trained_lines(table: pd.DataFrame) -> Iterator[str]:
    """Markdown: a line for each architecture and mechanism, and one for all, with its interval."""
    from mecheval_jax.ground_truth.judging import ABSTAINED, NOT_LEARNED, RIGHT, UNKNOWN, WRONG
    from mecheval_jax.ground_truth.models import SETTINGS, shape_of
    from mecheval_jax.ground_truth.training import Settings
    from mecheval_jax.statistics.intervals import wilson

    def counts(own: pd.DataFrame) -> list[int]:
        known = ~own["grade"].isin(UNKNOWN)
        graded = [int((own["grade"] == grade).sum()) for grade in (RIGHT, ABSTAINED, WRONG)]
        return [len(own), int((own["grade"] != NOT_LEARNED).sum()), int(known.sum()), *graded]

    lines = []
    for (mixer, mechanism), own in table.groupby(["mixer", "trained_to"], sort=False):
        width = shape_of(mixer, mechanism).width
        steps = SETTINGS.get((mixer, mechanism), Settings()).steps
        named = [WORDS.get(mixer, mixer), mechanism.replace("_", " "), f"{width}", f"{steps:,}"]
        lines.append([*named, *map(str, counts(own))])
    every = counts(table)
    low, high = wilson(every[3], every[2])
    share = f"{every[3]} ({100 * low:.0f} to {100 * high:.0f} %)"
    lines.append(["all", "", "", "", *map(str, every[:3]), share, *map(str, every[4:])])
    heads = ["architecture", "trained to", "width", "steps", "seeds", "recall", "reached"]
    yield from table_lines([*heads, "verdict right", "undecided", "wrong"], lines)


TABLES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], Callable]] = {
    "edges": (edges_of, edge_lines),
    "trained": (trained_of, trained_lines),
}
"""What makes the table of a rung from its rows, and the lines of the page from that table."""


def put(root: pathlib.Path) -> None:
    """Write the tables into the page."""
    from mecheval_jax.files import read_table

    for rung, (_, lines) in TABLES.items():
        table = root / FOLDER / f"{rung}.csv"
        marks = f"<!-- {rung}: written by tools/ground_truth_results.py -->", f"<!-- /{rung} -->"
        put_block(root / "docs" / "ground_truth.md", list(lines(read_table(table))), marks)


def main() -> None:
    """Run the program."""
    from mecheval_jax.errors import UserError
    from mecheval_jax.files import write_table

    root = blocks.root()
    if flags.FLAGS.ladder:
        if not pathlib.Path(flags.FLAGS.ladder, "parts").is_dir():
            raise UserError(f"--ladder={flags.FLAGS.ladder}: no workdir of launch.ground_truth")
        (root / FOLDER).mkdir(parents=True, exist_ok=True)
        for rung, (table_of, _) in TABLES.items():
            rows = rows_of(pathlib.Path(flags.FLAGS.ladder), rung)
            if len(rows):
                write_table(root / FOLDER / f"{rung}.csv", table_of(rows))
    put(root)


if __name__ == "__main__":
    flags.DEFINE_string("ladder", None, "Folder of a ladder, finished or under way.")
    blocks.run(main)
