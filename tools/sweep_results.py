"""Put what a sweep found among the documents: a row for each member, and a table of its arms.

    python -m tools.sweep_results --sweep=WORKDIR --name=architectures_2026
    python -m tools.sweep_results --run=WORKDIR --arm='{"first_weights": "numpy"}' --name=NAME

Adds the members that are evaluated so far to docs/results/sweeps/NAME.csv, which keeps those that
other machines have finished, and writes into docs/experiments.md, between the marks of that name, a
line for each arm: members that differ in their learning rates and seeds alone. Without --sweep the
page alone is written, from the tables there. --run adds a run that was trained by itself, of which
--arm says in what it differs from those beside it.
"""

import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from absl import flags

from mecheval_jax.errors import UserError
from tools import blocks
from tools.blocks import put_block, save_figure, table_lines

if TYPE_CHECKING:
    from mecheval_jax.store.run_folder import RunFolder

VARIED = "training.learning_rate", "training.seed", "training.data_seed"
"""Fields in which the members of an arm differ."""

PAGE = pathlib.Path("docs", "experiments.md")
"""Page of the tables, in the folder that holds the pages."""

FOLDER = pathlib.Path("docs", "results", "sweeps")
"""Folder of the tables and their figures."""

MEMBER = ["arm", "learning_rate", "seed"]
"""Columns that tell members apart."""

COLUMNS = ("arm", "learning_rate", "seed", "step", "accuracy", "accuracy_low", "accuracy_high")
COLUMNS += ("dev_accuracy", "floor", "verdict", "layer", "binding", "probability")


def rows_of(workdir: str) -> Iterator[dict[str, Any]]:
    """A row for each member of the groups of a sweep that are finished so far."""
    for _, row in members_of(workdir):
        yield row


def members_of(workdir: str) -> Iterator[tuple["RunFolder", dict[str, Any]]]:
    """The same, with the run folder of each member."""
    from mecheval_jax.study.results import finished_members, row_of

    for _, run, experiment, changes in finished_members(workdir):
        yield run, _row(changes, row_of(run, experiment), run.read_summary())


def row_of_run(workdir: str, arm: str) -> dict[str, Any]:
    """The row of a finished run that is no member of a sweep.

    Args:
        workdir: Folder of the run.
        arm: Its arm: an object of JSON, as the changes of a member are.

    Raises:
        UserError: If it is not finished, or `arm` is no such object.
    """
    from mecheval_jax.store.run_folder import RunFolder
    from mecheval_jax.study.results import row_of

    try:
        changes = json.loads(arm)
    except ValueError:
        changes = None
    if not isinstance(changes, dict):
        raise UserError(f"--arm is {arm!r}: an object of JSON, field -> value")
    run = RunFolder(workdir)
    return _row(changes, row_of(run, run.experiment()), run.read_finished())


def _row(
    changes: Mapping[str, Any], row: Mapping[str, Any], summary: Mapping[str, Any]
) -> dict[str, Any]:
    """`COLUMNS` from a row of the study's results, and what that has no column for."""
    arm = {field: value for field, value in changes.items() if field not in VARIED}
    return {name: row.get(name) for name in COLUMNS} | {
        "arm": json.dumps(arm, sort_keys=True),
        "step": summary.get("step"),
        "layer": row.get("verdict_layer"),
        "binding": summary.get("binding"),
        "probability": row.get("verdict_probability"),
    }


def merged(table: pathlib.Path, rows: pd.DataFrame, key: Sequence[str] = MEMBER) -> pd.DataFrame:
    """Rows of a table, if there is one, and new ones, each of which replaces that of its `key`."""
    from mecheval_jax.files import read_table

    if table.exists():
        rows = pd.concat([read_table(table), rows])
    return rows.drop_duplicates(key, keep="last")


def lines_of(table: pd.DataFrame) -> Iterator[str]:
    """Markdown: each arm at the learning rate that answers dev documents best, a cell per seed."""
    seeds = sorted(table["seed"].unique())
    lines = []
    for words, rate, rows in _at_best_rate(table):
        best = rows.set_index("seed")
        cells = (_cell(best.loc[seed]) if seed in best.index else "not run" for seed in seeds)
        lines.append([words, f"{rate:g}", *cells])
    yield from table_lines(["arm", "learning rate", *(f"seed {seed}" for seed in seeds)], lines)


def _at_best_rate(table: pd.DataFrame) -> Iterator[tuple[str, float, pd.DataFrame]]:
    """The words of each arm, its best learning rate and the members of that rate."""
    for arm, rows in table.groupby("arm", sort=False):
        # A rate whose members diverged before an evaluation has no accuracy.
        by_rate = rows.groupby("learning_rate")["dev_accuracy"].mean().fillna(-1.0)
        best = by_rate.idxmax()
        yield _words(json.loads(arm)), best, rows[rows["learning_rate"] == best]


def draw(root: pathlib.Path, names: Iterable[str]) -> None:
    """Draw the figures of tables beside them: the members that the lines of the page show."""
    from mecheval_jax.files import read_table
    from mecheval_jax.reporting.figures.dot_figures import dots_in_lines

    for name in names:
        table = read_table(root / FOLDER / f"{name}.csv")
        dots = [
            {
                "name": words.replace("`", ""),
                "panel": "accuracy on unseen documents",
                "kind": "no verdict" if pd.isna(row["verdict"]) else row["verdict"],
                "value": row["accuracy"],
                "low": row["accuracy_low"],
                "high": row["accuracy_high"],
            }
            for words, _, rows in _at_best_rate(table)
            for row in rows.to_dict("records")
        ]
        save_figure(dots_in_lines, pd.DataFrame(dots), root / FOLDER / f"{name}.svg")


def accuracy_of(row: pd.Series) -> str:
    """The accuracy of a member with its interval: ``98.4 % [96.4, 99.3]``."""
    return share(row["accuracy"], row["accuracy_low"], row["accuracy_high"])


def learned(row: pd.Series) -> bool:
    """Whether a member answers more than can be had without recall."""
    from mecheval_jax.evaluation.verdict.readings import has_learned

    return has_learned(row["accuracy_low"], row["floor"], row["verdict"])


def share(value: float, low: float, high: float) -> str:
    """A share with its interval, in per cent."""
    return f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _cell(row: pd.Series) -> str:
    text = f"{accuracy_of(row)} after {row['step']:,.0f}"
    if pd.isna(row["verdict"]):
        return text
    known = not pd.isna(row["binding"]) and row["binding"] not in ("none", "undecided")
    where = ([f"layer {row['layer']:.0f}"] if not pd.isna(row["layer"]) else []) + (
        [row["binding"].removeprefix("convolution_").replace("_", " ")] if known else []
    )
    return f"{text}: `{row['verdict']}`" + (f", {', '.join(where)}" if where else "")


def _words(arm: Mapping[str, Any]) -> str:
    """Changes of an arm, the mixer first, fields by the last part of their names.

    Positions are named where they are not those that the mixer has by itself.
    """
    from mecheval_jax.mixers.architectures import positions_of

    rest = {field.rpartition(".")[2]: value for field, value in arm.items()}
    if "mixer" in rest and rest.get("positions") == positions_of(rest["mixer"]):
        del rest["positions"]
    mixer, options = rest.pop("mixer", ""), rest.pop("mixer_options", None) or {}
    parts = [f"`{name}={value}`" for name, value in (rest | options).items()]
    return ", ".join([f"`{mixer}`", *parts])


def put(root: pathlib.Path, names: Iterable[str]) -> None:
    """Write the tables of sweeps into the page of results."""
    from mecheval_jax.files import read_table

    for name in names:
        table = read_table(root / FOLDER / f"{name}.csv")
        put_block(root / PAGE, list(lines_of(table)), marks_of(name))


def marks_of(name: str) -> tuple[str, str]:
    """The lines of the page between which the table of that name stands."""
    return f"<!-- {name}: written by tools/sweep_results.py -->", f"<!-- /{name} -->"


def main() -> None:
    """Run the program."""
    from mecheval_jax.console import say
    from mecheval_jax.files import write_table

    root = blocks.root()
    folder = root / FOLDER
    names = sorted(path.stem for path in folder.glob("*.csv"))
    if flags.FLAGS.sweep and flags.FLAGS.run:
        raise UserError("--sweep and --run are two things to add: one at a time")
    if flags.FLAGS["arm"].present and not flags.FLAGS.run:
        raise UserError("--arm says in what a run differs, and needs --run")
    if flags.FLAGS.name is not None and not (flags.FLAGS.sweep or flags.FLAGS.run):
        raise UserError("--name is that of the table to which --sweep or --run adds: give one")
    if flags.FLAGS.sweep or flags.FLAGS.run:
        name = flags.FLAGS.name
        if name is None:
            raise UserError("--sweep and --run need --name, the name of the table")
        begin, _ = marks_of(name)
        if begin not in (root / PAGE).read_text():
            raise UserError(f"--name is {name!r}: {PAGE} has no line {begin} for its table")
        names = [name]
        folder.mkdir(parents=True, exist_ok=True)
        if flags.FLAGS.run:
            found = [row_of_run(flags.FLAGS.run, flags.FLAGS.arm)]
        else:
            found = list(rows_of(flags.FLAGS.sweep))
        rows = pd.DataFrame(found, columns=list(COLUMNS))
        table = folder / f"{names[0]}.csv"
        rows = merged(table, rows)
        write_table(table, rows)
        say(f"{len(rows)} members in {table}")
    draw(root, names)
    put(root, names)


if __name__ == "__main__":
    flags.DEFINE_string("sweep", None, "Folder of a sweep, finished or under way.")
    flags.DEFINE_string("run", None, "Folder of a finished run that is no member of a sweep.")
    flags.DEFINE_string("arm", "{}", "In what that run differs: an object of JSON.")
    flags.DEFINE_string("name", None, "Name of the table.")
    blocks.run(main)
