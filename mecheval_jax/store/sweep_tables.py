"""Tables of a sweep: every member, the best of each shape, and how often training succeeds.

``members.csv`` is long, one row for each member and metric. ``best.csv`` has for each shape the
member with the highest accuracy on dev documents (at equal accuracy the lower loss), with its
accuracy on the evaluation documents, which had no part in the choice. ``success.csv`` has the
share of members whose accuracy exceeds a threshold: over all members of a shape, over those that
differ in seeds alone, and over those that differ in the learning rate alone, with Wilson's
intervals.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from mecheval_jax.experiment import Experiment
from mecheval_jax.files import read_table, write_table
from mecheval_jax.partitioning.multihost import by_main
from mecheval_jax.statistics.intervals import wilson
from mecheval_jax.store.sweep_folder import SweepFolder
from mecheval_jax.store.tables import identity
from mecheval_jax.training.state import HYPERPARAMETERS

SHAPE = ("group", "mixer", "width", "layers")
MEMBERS = ("member", *SHAPE, *HYPERPARAMETERS, "metric", "value", "low", "high", "label")
SUCCESS = (
    *(*SHAPE, "over", *HYPERPARAMETERS, "metric", "threshold"),
    *("value", "low", "high", "members", "diverged"),
)
OVER = {
    "all": HYPERPARAMETERS,
    "seeds": ("seed", "data_seed"),
    "learning_rates": ("learning_rate",),
}
"""Fields in which members that are counted together may differ."""

THRESHOLDS = (0.5, 0.9, 0.99)
"""Accuracies that count as a success."""


@dataclasses.dataclass(frozen=True)
class SweepTables:
    """The tables of a sweep so far.

    Attributes:
        members: Rows of ``members.csv``.
        best: Rows of ``best.csv``.
        success: Rows of ``success.csv``.
    """

    members: pd.DataFrame
    best: pd.DataFrame
    success: pd.DataFrame


@by_main
def write_tables(folder: SweepFolder, then: Callable[[SweepFolder, SweepTables], None]) -> int:
    """Write the tables of all groups that are finished so far.

    Args:
        folder: Folder of the sweep.
        then: Function that gets the tables, on the process that writes, and makes a report.

    Returns:
        Number of their members.
    """
    written: list[pathlib.Path] = []
    count = 0
    while (found := [g.table for g in folder.groups() if g.has_table()]) != written:
        tables = _write(folder, found)
        then(folder, tables)
        # Another shard may have finished a group in the meantime.
        count, written = int(tables.members["member"].nunique()), found
    return count


def _write(folder: SweepFolder, found: Sequence[pathlib.Path]) -> SweepTables:
    """Write the tables from those of the groups."""
    # Tables are joined as text, so that numbers do not change by reading and writing.
    texts = pd.concat([read_table(path, dtype=str, keep_default_na=False) for path in found])
    texts = texts.sort_values("member", key=lambda column: column.astype(int), kind="stable")
    content = folder.read()
    write_table(folder.table, with_shapes(texts, content))
    members = read_table(folder.table)
    confidence = content["base"]["evaluation"]["confidence"]
    tables = SweepTables(members, best(members), success(members, confidence))
    write_table(folder.best, with_shapes(tables.best, content))
    write_table(folder.success, with_shapes(tables.success, content))
    return tables


def member_rows(
    number: int,
    group: str,
    experiment: Experiment,
    summary: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The rows of one member in ``members.csv``.

    Args:
        number: Number of the member in the sweep.
        group: Name of the member's group.
        experiment: Experiment of the member.
        summary: Summary of the member's run.
        metrics: Rows of metrics over its training.
    """
    constants = {"member": number, "group": group} | identity(experiment)
    constants |= {name: getattr(experiment.training, name) for name in HYPERPARAMETERS}
    last = next((row for row in reversed(metrics) if row["split"] == "dev"), {})
    values = {
        "accuracy": summary["accuracy"],
        "likelihood": summary["likelihood"],
        "loss": summary["loss"],
        "floor": summary["floors"]["best"],
        "dev_accuracy": last.get("accuracy"),
        "dev_loss": last.get("loss"),
        "step": summary["step"],
        "diverged_at": summary.get("diverged_at"),
        "stopped_at": summary.get("stopped_at"),
    }
    rows = [{"metric": metric, "value": value} for metric, value in values.items()]
    rows[0] |= {"low": summary["accuracy_low"], "high": summary["accuracy_high"]}
    if "verdict" in summary:
        share = summary["probabilities"][summary["verdict"]]
        rows.append({"metric": "verdict", "value": share, "label": summary["verdict"]})
    return [constants | row for row in rows]


def with_shapes(table: pd.DataFrame, content: Mapping[str, Any]) -> pd.DataFrame:
    """A table with a column for each further field in which shapes of the sweep differ.

    Args:
        table: Table with the columns `SHAPE`.
        content: Content of ``sweep.json``.
    """
    base, changes, groups = content["base"], content["members"], content["groups"]
    known = {"model.mixer", "model.width", "model.layers"}
    known |= {f"training.{name}" for name in HYPERPARAMETERS}
    place = list(table.columns).index(SHAPE[-1]) + 1
    table = table.copy()
    of_first = {group["name"]: changes[group["members"][0]] for group in groups}
    for path in sorted({path for change in changes for path in change} - known, reverse=True):
        section, _, field = path.partition(".")
        values = {
            name: str(change.get(path, base[section][field])) for name, change in of_first.items()
        }
        if len(set(values.values())) > 1:
            table.insert(place, path, table["group"].map(values))
    return table


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each member: its constants, its metrics as columns, and its verdict."""
    constants = table.drop_duplicates("member").set_index("member")[[*SHAPE, *HYPERPARAMETERS]]
    values = table.pivot(index="member", columns="metric", values="value")
    accuracy = table[table["metric"] == "accuracy"].set_index("member")[["low", "high"]]
    verdicts = table[table["metric"] == "verdict"].set_index("member")["label"]
    whole = constants.join(values.drop(columns="verdict", errors="ignore")).join(accuracy)
    return whole.join(verdicts.rename("verdict")).reset_index()


def best(table: pd.DataFrame) -> pd.DataFrame:
    """The best member of each shape: a row of ``best.csv``."""
    members = wide(table).sort_values(
        ["group", "dev_accuracy", "dev_loss", "member"],
        ascending=[True, False, True, True],
        na_position="last",
    )
    chosen = members.drop_duplicates("group").reset_index(drop=True)
    columns = [*SHAPE, "member", *HYPERPARAMETERS, "dev_accuracy", "accuracy", "low", "high"]
    return chosen[[*columns, "floor", "verdict"]]


def success(
    table: pd.DataFrame, confidence: float, thresholds: Sequence[float] = THRESHOLDS
) -> pd.DataFrame:
    """Shares of members above each threshold: ``success.csv``.

    ``over`` says in which fields the members of a row differ: ``all`` in which the shape's members
    do, ``seeds`` alone, or ``learning_rates`` alone. Columns of hyperparameters hold the values
    that the members share; the others are empty.
    """
    rows = []
    for _, of_shape in wide(table).groupby("group", sort=False):
        for over, different in OVER.items():
            common = [name for name in (*SHAPE, *HYPERPARAMETERS) if name not in different]
            for (values, part), threshold in itertools.product(
                of_shape.groupby(common), thresholds
            ):
                hits = int((part["accuracy"] > threshold).sum())
                low, high = wilson(hits, len(part), confidence)
                row = {**dict(zip(common, values, strict=True)), "over": over}
                row |= {"metric": "success_rate", "threshold": threshold}
                row |= {"value": hits / len(part), "low": low, "high": high}
                row |= {"members": len(part), "diverged": int(part["diverged_at"].notna().sum())}
                rows.append(row)
    return pd.DataFrame(rows, columns=SUCCESS)
