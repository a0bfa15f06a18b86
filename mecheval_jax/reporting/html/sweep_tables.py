"""The tables of a sweep's page: members, the best of each shape, and shares of success."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mecheval_jax.changes import changed_sections
from mecheval_jax.evaluation.verdict import readings
from mecheval_jax.reporting.html.run_tables import ACCURACY, count, plain
from mecheval_jax.reporting.numbers import percent
from mecheval_jax.reporting.table import Column, Table, with_ends
from mecheval_jax.store.left_out import LeftOut
from mecheval_jax.store.metrics import Curves, rise
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.status import Overview
from mecheval_jax.store.sweep_folder import SweepFolder
from mecheval_jax.store.sweep_tables import SweepTables, wide
from mecheval_jax.study.published.tables import published_beside
from mecheval_jax.training.ensemble.strategy import Strategy
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

SHAPE, VERDICT = Column("shape"), Column("verdict")
DEV = Column("dev_accuracy", "dev", percent)


def of(folder: SweepFolder, overview: Overview, found: SweepTables) -> dict[str, Table]:
    """All tables of a sweep, by name.

    Args:
        folder: Folder of the sweep.
        overview: Status of the groups.
        found: Tables of the sweep's results.
    """
    titles = {one.name: one.title for one in overview.groups}
    changed = [n for n in HYPERPARAMETERS if n in SHOWN or found.members[n].nunique() > 1]
    best, members = (_linked(t, folder, titles) for t in (found.best, wide(found.members)))
    ended = [
        {**row, "end": words, "at": row[name]}
        for row in members
        for name, words in ENDS.items()
        if not pd.isna(row.get(name))
    ]

    def of_members(name: str, caption: str, rows: list[dict[str, Any]], *columns: Column) -> Table:
        own = (SHAPE, Column("member", link="link"), *_settings(changed), *columns)
        return Table(name, caption, own, rows, of="shape")

    floor, step = Column("floor", form=percent), Column("step", "steps", count)
    end = (Column("end"), Column("at", "step", count))
    every = (
        of_members("best", "The best member of each shape", best, DEV, ACCURACY, floor, VERDICT),
        *_success(found.success, titles),
        _differences(found.differences, titles),
        of_members("ended_early", "Members that ended early", ended, *end),
        of_members("members", "All members", members, step, DEV, ACCURACY, VERDICT),
        _groups(folder, overview, found.left_out),
    )
    return {table.name: table for table in every}


def rises(best: pd.DataFrame, curves: Mapping[str, Curves], titles: Mapping[str, str]) -> Table:
    """Between which steps the accuracy of the best member of each shape rose.

    Args:
        best: Rows of ``best.csv``.
        curves: Rows on dev documents, by group.
        titles: Titles of the groups.
    """
    rows = []
    for row in best.to_dict("records"):
        curve = curves.get(row["group"], {}).get(row["member"], ())
        learned = readings.has_learned(row["low"], row["floor"], row.get("verdict"))
        found = rise(curve, row["floor"]) if learned else None
        low, high = found or (None, None)
        last = curve[-1]["accuracy"] if curve else None
        rows.append(
            {"group": row["group"], "shape": titles[row["group"]], "member": str(row["member"])}
            | {"floor": row["floor"], "low": low, "high": high, "dev_accuracy": last}
        )
    columns = (
        SHAPE,
        Column("member"),
        Column("floor", form=percent),
        DEV,
        Column("low", "rises after step", count),
        Column("high", "and until", count),
    )
    caption = "When the best member of each shape learned"
    return Table("rises", caption, columns, rows, of="shape")


MODEL = "model."
"""What the names of changed fields of the model begin with."""


def models(members: pd.DataFrame, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Members as rows for `comparison_figures.accuracy_by_width`.

    Args:
        members: Table from `store.sweep_tables.wide`.
        content: Content of ``sweep.json``.
    """
    base = content["base"]
    changed = {name for changes in content["members"] for name in changes}
    known = {f"training.{name}" for name in HYPERPARAMETERS}
    comparable = all(name.startswith(MODEL) or name in known for name in changed)

    def published(row: Mapping[str, Any]) -> float | None:
        own = changed_sections(base, content["members"][row["member"]])[0]
        return published_beside(own["task"], own["model"]) if comparable else None

    asked = _asked(content["members"])
    return [
        with_ends(row, "accuracy")
        | {"published": published(row), "run": f"member {row['member']}"}
        | {"task": asked[row["member"]]}
        for row in members.dropna(subset="accuracy").to_dict("records")
    ]


ASKED = ("task.", "evaluation.split")
"""What the names of changed fields begin with that make other documents."""


def _asked(members: Sequence[Mapping[str, Any]]) -> list[str]:
    """The documents that each member of a sweep is asked: fields by which these differ."""
    fields = {name for changes in members for name in changes if name.startswith(ASKED)}
    texts = [{n: str(changes.get(n, "as in the config")) for n in fields} for changes in members]
    differ = [name for name in sorted(fields) if len({each[name] for each in texts}) > 1]
    return [", ".join(f"{n.removeprefix('task.')} {each[n]}" for n in differ) for each in texts]


def _linked(
    members: pd.DataFrame, folder: SweepFolder, titles: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Rows of members, with links from the page to their folders or reports."""
    rows = []
    for row in members.to_dict("records"):
        run = RunFolder(folder.group(row["group"]).member(row["member"]))
        link = f"{run.path.relative_to(folder.path).as_posix()}/"
        report = run.report.name if run.report.exists() else ""
        row |= {"shape": titles[row["group"]], "member": str(row["member"]), "link": link + report}
        rows.append(with_ends(row, "accuracy"))
    return rows


def _settings(names: Sequence[str]) -> Iterator[Column]:
    return (Column(name, form=plain) for name in names)


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
        with_ends(row, "value")
        | {"first": titles[row["first"]], "second": titles[row["second"]]}
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


def _strategy(folder: SweepFolder, group: str, left_out: LeftOut) -> Strategy | None:
    return left_out.part(group, folder.group(group).read_strategy, None)


def _groups(folder: SweepFolder, overview: Overview, left_out: LeftOut) -> Table:
    rows = [
        vars(one.status)
        | {"group": one.name, "shape": one.title}
        | {"computed_by": str(_strategy(folder, one.name, left_out) or "") or None}
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
