"""The tables of one run from its files, in the order of its page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mecheval_jax.evaluation.config import CORRUPTION, RESTORE
from mecheval_jax.files import read_table
from mecheval_jax.reporting.html.reading import CONTROLS, Reported
from mecheval_jax.reporting.numbers import MISSING, number, percent
from mecheval_jax.reporting.table import Column, Table, with_ends
from mecheval_jax.reporting.words import by_site, readings
from mecheval_jax.store.columns import read_slices
from mecheval_jax.store.remedies import written_by
from mecheval_jax.store.row_selection import attributions, newest
from mecheval_jax.tasks.floors import KINDS, RECALL_LIKE, kind_of


def count(value: Any) -> str:
    """A whole number with separated thousands; a dash if there is none."""
    return MISSING if value is None or pd.isna(value) else f"{value:,.0f}"


def plain(value: Any) -> str:
    """A number, of one with a fraction few digits; a dash if there is none.

    A whole number, which may be a seed, has all its digits.
    """
    if value is None or pd.isna(value):
        return MISSING
    return f"{value:.0f}" if value % 1 == 0 else f"{value:.4g}"


SHARE = Column("accuracy", form=percent)
ACCURACY = Column("accuracy", form=percent, ends=True)


@dataclass(frozen=True)
class HeatMap:
    """Attributions of one corruption and direction, sites by roles.

    Attributes:
        corruption: Role whose token was replaced.
        direction: Direction of the exchange.
        table: Attributions, a heat map on the page.
    """

    corruption: str
    direction: str
    table: Table

    @property
    def has_numbers(self) -> bool:
        """Whether any cell has one: a corruption may change too little to divide by."""
        roles = [column.name for column in self.table.columns[1:]]
        return any(not pd.isna(row.get(role)) for row in self.table.rows for role in roles)


def of(run: Reported) -> Iterator[Table]:
    """The tables of a run for which there are files."""
    made = (
        _accuracy(run),
        _slices(run),
        _evidence(run.summary),
        _probabilities(run.summary),
        *_over_training(run.summary.get("over_training") or {}),
        _controls(run),
    )
    yield from (table for table in made if table.rows)


def _accuracy(run: Reported) -> Table:
    rows, summary = [], run.summary
    if "accuracy" in summary:
        ends = {f"accuracy_{end}": summary.get(f"accuracy_{end}") for end in ("low", "high")}
        rows = [{"who": "this model", "accuracy": summary["accuracy"], **ends}, *_heuristics(run)]
    columns = (Column("who", "who answers"), ACCURACY, Column("kind"))
    caption = "Accuracy of the model and of heuristics without recall"
    return Table("accuracy", caption, columns, rows, bar="accuracy")


def floors(run: Reported) -> Table:
    """Chance and every heuristic of a run's task, as `_heuristics`; no rows before its end."""
    columns = (Column("heuristic"), Column("kind"), Column("who", "what it guesses"), SHARE)
    return Table("floors", "Accuracy without recall", columns, _heuristics(run))


def _heuristics(run: Reported) -> list[dict[str, Any]]:
    """Chance and the heuristics that were measured, by their accuracies; recall-like ones last."""
    if not run.floors:
        return []
    task = run.experiment.task
    chance = {"heuristic": "chance", "who": "a guess by chance, without the document"}
    rows: list[dict[str, Any]] = [chance | {"accuracy": task.chance}]
    for name, share in run.floors.items():
        if name != "best":
            kind = kind_of(name, task.recall_like)[0] if name in KINDS else None
            who = KINDS[name][1] if name in KINDS else name
            rows.append({"heuristic": name, "kind": kind, "who": who, "accuracy": share})
    # What is not counted stands below what is.
    return sorted(rows, key=lambda row: (row.get("kind") == RECALL_LIKE, -row["accuracy"]))


def _slices(run: Reported) -> Table:
    rows = [
        with_ends(row, "accuracy") | {"value": _range(row["low_value"], row["high_value"])}
        for row in read_slices(run.folder.slices)
    ]
    columns = (*map(Column, ("property", "value")), ACCURACY, Column("queries", form=count))
    return Table("slices", "Accuracy by what the documents are like", columns, rows)


def _range(low: float, high: float) -> str:
    return plain(low) if low == high else f"{plain(low)} to {plain(high)}"


def _evidence(summary: Mapping[str, Any]) -> Table:
    evidence = summary.get("evidence") or {}
    texts = readings(evidence)
    rows = [
        with_ends(row, "attribution")
        | {name: text[name] for name in ("site", "role", "reading")}
        | {"attribution": row["value"]}
        for text, row in zip(texts, evidence.get("attributions", []), strict=True)
    ]
    columns = (
        Column("site"),
        Column("role", "position"),
        Column("attribution", form=number, ends=True),
        Column("reading"),
        *(Column(control, form=number) for control in ("untrained", "placebo")),
    )
    return Table("evidence", "What the verdict rests on, with controls", columns, rows)


def _probabilities(summary: Mapping[str, Any]) -> Table:
    # The verdict first, though another class may be likelier where several reasons speak for it.
    first = summary.get("verdict")
    probabilities = (summary.get("probabilities") or {}).items()
    shares = sorted(probabilities, key=lambda item: (item[0] != first, -item[1]))
    rows = [
        {"verdict": name, "probability": share}
        for name, share in shares
        if share > 0 or name == first
    ]
    columns = (Column("verdict"), Column("probability", form=percent))
    caption = "Probability of each verdict under the bootstrap"
    return Table("probabilities", caption, columns, rows, bar="probability")


def _over_training(found: Mapping[str, Any]) -> Iterator[Table]:
    columns = (
        Column("before"),
        Column("after"),
        Column("step", "first seen at step", count),
        Column("low", "not before", count),
        Column("high", "not after", count),
    )
    yield Table("transitions", "Changes of the verdict", columns, found.get("transitions", []))
    rows = [
        row | {"probability": row["probabilities"][row["verdict"]]}
        for row in found.get("steps", [])
    ]
    columns = (
        Column("step", form=count),
        Column("accuracy", form=percent),
        Column("verdict"),
        Column("layer", form=count),
        Column("probability", "its probability", percent),
    )
    yield Table("steps", "Verdict at every step", columns, rows)


def _controls(run: Reported) -> Table:
    rows: list[dict[str, Any]] = []
    if run.folder.controls.exists():
        table = newest(read_table(run.folder.controls, CONTROLS, written_by("intervene")))
        chosen = table[table["metric"] == "attribution"]
        rows = [with_ends(row, "value") for row in chosen.to_dict("records")]
    columns = (
        *map(Column, ("control", "site", "direction", "role")),
        Column("value", "attribution", number, ends=True),
        Column("documents", form=count),
    )
    return Table("controls", "Before training, and where nothing should be found", columns, rows)


def measured(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Corruptions and directions of some attributions; what the verdict reads comes first."""
    rows = table.loc[table["metric"] == "attribution", ["corruption", "direction"]]
    pairs = set(rows.itertuples(index=False, name=None))
    return sorted(pairs, key=lambda pair: (pair[0] != CORRUPTION, pair[0], pair[1] != RESTORE))


def places(summary: Mapping[str, Any]) -> Table | None:
    """What the verdict's evidence says of each site and set of positions; None without any.

    It stands in for the grid of a run whose verdict alone was measured.

    Args:
        summary: Content of ``summary.json``.
    """
    evidence = (summary.get("evidence") or {}).get("attributions", ())
    restored = [row for row in evidence if row.get("direction", RESTORE) == RESTORE]
    rows: dict[str, dict[str, Any]] = {}
    for row in restored:
        cells = rows.setdefault(row["site"], {"site": row["site"]})
        if (role := row["role"]) not in cells:  # a search may have measured it again
            cells |= {role: row["value"], f"{role}_low": row["low"], f"{role}_high": row["high"]}
    if all(row["value"] is None for row in restored):
        return None
    roles = dict.fromkeys(row["role"] for row in restored)
    columns = (Column("site"), *(Column(role, role, number, True) for role in roles))
    caption = "Attribution at each site and set of positions, the pair's earlier token replaced"
    return Table("places", caption, columns, list(rows.values()))


def grids(table: pd.DataFrame) -> Iterator[HeatMap]:
    """The attributions of every corruption and direction.

    Args:
        table: Rows of ``interchange.csv`` at one step.
    """
    for corruption, direction in measured(table):
        roles, lines = by_site(attributions(table, corruption, direction))
        rows = []
        for site, cells in lines:
            row: dict[str, Any] = {"site": site}
            for role, cell in zip(roles, cells, strict=True):
                row |= {role: cell["value"], f"{role}_low": cell["low"]}
                row |= {f"{role}_high": cell["high"], f"{role}_star": cell.get("significant")}
            rows.append(row)
        of_roles = (Column(role, role, number, True, star=f"{role}_star") for role in roles)
        columns = (Column("site"), *of_roles)
        name = f"attribution_{corruption}_{direction}"
        caption = f"Attribution, {corruption} corrupted, {direction}"
        yield HeatMap(corruption, direction, Table(name, caption, columns, rows))
