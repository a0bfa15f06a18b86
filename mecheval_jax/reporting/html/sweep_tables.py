"""The tables of a sweep's page: members, the best of each shape, and shares of success."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mecheval_jax.reporting.html.run_tables import count, plain
from mecheval_jax.reporting.table import Column, Table
from mecheval_jax.reporting.terminal.tables import percent
from mecheval_jax.store.status import Overview
from mecheval_jax.store.sweep_folder import SweepFolder
from mecheval_jax.store.sweep_tables import SweepTables, wide
from mecheval_jax.study.published.tables import published_beside
from mecheval_jax.training.state import HYPERPARAMETERS

SHOWN = ("learning_rate", "seed")
"""Fields that are shown for every member, even if all members share the value."""

ENDS = {"diverged_at": "diverged", "stopped_at": "reached the target accuracy, and stopped"}

OVER = {
    "all": ("success", "How often training succeeds: members above each accuracy"),
    "seeds": ("success_by_rate", "The same by learning rate, over seeds"),
    "learning_rates": ("success_by_seed", "The same by seed, over learning rates"),
}
"""Names and captions of the tables of success, by the members that are counted together."""

SHAPE = Column("shape")
ACCURACY = Column("accuracy", form=percent, ends=True)


def of(folder: SweepFolder, overview: Overview, found: SweepTables) -> dict[str, Table]:
    """All tables of a sweep, by name.

    Args:
        folder: Folder of the sweep.
        overview: Status of the groups.
        found: Tables of the sweep's results.
    """
    titles = {one.name: one.title for one in overview.groups}
    changed = [n for n in HYPERPARAMETERS if n in SHOWN or found.members[n].nunique() > 1]
    members = wide(found.members)
    every = (
        _best(_linked(found.best, folder, titles), changed),
        *_success(found.success, titles),
        _differences(found.differences, titles),
        _ends(_linked(members, folder, titles), changed),
        _members(_linked(members, folder, titles), changed),
        _groups(folder, overview),
    )
    return {table.name: table for table in every}


COMPARED = {"model.mixer", "model.width", "model.layers", "model.positions"}
"""Fields that members may change and still be compared with published numbers."""


def models(members: pd.DataFrame, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Members as rows for `comparison_figures.accuracy_by_width`.

    Args:
        members: Table from `store.sweep_tables.wide`.
        content: Content of ``sweep.json``.
    """
    base = content["base"]
    known = COMPARED | {f"training.{name}" for name in HYPERPARAMETERS}
    comparable = {name for changes in content["members"] for name in changes} <= known

    def published(row: Mapping[str, Any]) -> float | None:
        shape = {name: row[name] for name in ("mixer", "width", "layers")}
        return published_beside(base["task"], base["model"] | shape) if comparable else None

    return [
        row
        | {"published": published(row)}
        | {"run": f"member {row['member']}"}
        | {"accuracy_low": row["low"], "accuracy_high": row["high"]}
        for row in members.dropna(subset="accuracy").to_dict("records")
    ]


def _linked(
    members: pd.DataFrame, folder: SweepFolder, titles: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Rows of members, with links from the page to their folders or reports."""
    rows = []
    for row in members.to_dict("records"):
        run = folder.group(row["group"]).member(row["member"])
        link = f"{run.relative_to(folder.path).as_posix()}/"
        report = "report.html" if (run / "report.html").exists() else ""
        row |= {"shape": titles[row["group"]], "member": str(row["member"]), "link": link + report}
        rows.append(row | {"accuracy_low": row["low"], "accuracy_high": row["high"]})
    return rows


def _settings(names: Sequence[str]) -> Iterator[Column]:
    return (Column(name, form=plain) for name in names)


def _best(rows: Sequence[Mapping[str, Any]], changed: Sequence[str]) -> Table:
    columns = (
        SHAPE,
        Column("member", link="link"),
        *_settings(changed),
        Column("dev_accuracy", "dev", percent),
        ACCURACY,
        Column("floor", form=percent),
        Column("verdict"),
    )
    return Table("best", "The best member of each shape", columns, rows, of="shape")


def _members(rows: Sequence[Mapping[str, Any]], changed: Sequence[str]) -> Table:
    columns = (
        SHAPE,
        Column("member", link="link"),
        *_settings(changed),
        Column("step", "steps", count),
        Column("dev_accuracy", "dev", percent),
        ACCURACY,
        Column("verdict"),
    )
    return Table("members", "All members", columns, rows, of="shape")


def _ends(rows: Sequence[Mapping[str, Any]], changed: Sequence[str]) -> Table:
    ended = [
        {**row, "end": words, "at": row[name]}
        for row in rows
        for name, words in ENDS.items()
        if not pd.isna(row.get(name))
    ]
    columns = (
        SHAPE,
        Column("member", link="link"),
        *_settings(changed),
        Column("end"),
        Column("at", "step", count),
    )
    return Table("ended_early", "Members that ended early", columns, ended, of="shape")


def _success(success: pd.DataFrame, titles: Mapping[str, str]) -> Iterator[Table]:
    """Shares of members above each accuracy, over all members and over parts of them."""
    thresholds = sorted(set(success["threshold"]))
    for over, (name, caption) in OVER.items():
        beside = success[success["over"] == over]
        alike = [n for n in HYPERPARAMETERS if beside[n].notna().any()]
        if (beside["data_seed"] == beside["seed"]).all():
            alike = [n for n in alike if n != "data_seed"]
        alike = [n for n in alike if beside[n].nunique() > 1 or n in SHOWN]
        rows = []
        for _, part in beside.groupby(["group", *HYPERPARAMETERS], sort=False, dropna=False):
            first = part.iloc[0]
            row = {"shape": titles[first["group"]], **first[list(alike)]}
            row |= {"members": first["members"], "diverged": first["diverged"]}
            for one in part.to_dict("records"):
                field = _above(one["threshold"])
                row |= {field: one["value"]}
                row |= {f"{field}_low": one["low"], f"{field}_high": one["high"]}
            rows.append(row)
        columns = (
            SHAPE,
            *_settings(alike),
            Column("members", form=count),
            Column("diverged", form=count),
            *(Column(_above(t), f"above {t:.0%}", percent, ends=True) for t in thresholds),
        )
        yield Table(name, caption, columns, rows, of="shape")


def _above(threshold: float) -> str:
    return f"above_{100 * threshold:g}"


def _differences(differences: pd.DataFrame, titles: Mapping[str, str]) -> Table:
    rows = [
        {**row, "first": titles[row["first"]], "second": titles[row["second"]]}
        | {"value_low": row["low"], "value_high": row["high"]}
        | {"documents": "the same" if row["same_documents"] else "their own"}
        for row in differences.to_dict("records")
    ]
    columns = (
        Column("first", "shape"),
        Column("second", "less"),
        Column("value", "accuracy", percent, ends=True),
        Column("first_members", "members", count),
        Column("second_members", "of the other", count),
        Column("documents"),
    )
    return Table("differences", "Differences of accuracy between shapes", columns, rows)


def _groups(folder: SweepFolder, overview: Overview) -> Table:
    rows = [
        vars(one.status)
        | {"group": one.name, "shape": one.title}
        | {"computed_by": str(folder.group(one.name).read_strategy() or "") or None}
        for one in overview.groups
    ]
    columns = (
        *map(Column, ("group", "shape", "state")),
        Column("members", form=count),
        Column("step", "steps taken", count),
        Column("steps", "of", count),
        Column("computed_by"),
        Column("seconds", form=count),
        Column("attempts", form=count),
    )
    return Table("groups", "Groups, with their seconds of training", columns, rows, of="shape")
