"""Tables of a sweep: every member, the best of each shape, how often training succeeds.

``members.csv`` is long, one row for each member and metric. ``best.csv`` has for each shape the
member with the highest accuracy on dev documents (at equal accuracy the lower loss), with its
accuracy on the evaluation documents, which had no part in the choice. ``success.csv`` has the
share of members whose accuracy exceeds a threshold: over all members of a shape, over those that
differ in seeds alone, and over those that differ in the learning rate alone. ``differences.csv``
has for each two shapes the difference of their accuracies, over seeds at the best of their other
settings. Intervals allow for it that members on the same documents succeed and fail together
(`statistics.crossed`).
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from mecheval_jax.changes import changed_sections, value_at
from mecheval_jax.errors import UserError
from mecheval_jax.experiment import Experiment
from mecheval_jax.files import damaged, read_table, write_table
from mecheval_jax.partitioning.multihost import by_main
from mecheval_jax.statistics.crossed import Answers, difference, share_above
from mecheval_jax.statistics.intervals import wilson
from mecheval_jax.store.columns import identity
from mecheval_jax.store.left_out import LeftOut
from mecheval_jax.store.metrics import last_dev
from mecheval_jax.store.remedies import WRITTEN_AGAIN
from mecheval_jax.store.sweep_answers import read_answers, together
from mecheval_jax.store.sweep_folder import GroupFolder, SweepFolder, confidence_of
from mecheval_jax.training.state import HYPERPARAMETERS

SHAPE = ("group", "mixer", "width", "layers")
MEMBERS = ("member", *SHAPE, *HYPERPARAMETERS, "metric", "value", "low", "high", "label")
MEMBER_TEXTS = dict.fromkeys(MEMBERS, str)
MEMBER_NUMBERS = MEMBER_TEXTS | dict.fromkeys(("member", "value", "low", "high"), float)
MEMBER_NUMBERS |= dict.fromkeys(("width", "layers", *HYPERPARAMETERS), float)
"""Columns of ``members.csv`` as they are read."""

KNOWN = ("accuracy", "floor", "dev_accuracy", "dev_loss", "diverged_at", "stopped_at")
"""Metrics that every member has, with empty cells where there is no number."""

SUCCESS = (
    *(*SHAPE, "over", *HYPERPARAMETERS, "metric", "threshold"),
    *("value", "low", "high", "members", "diverged"),
)
DIFFERENCES = (
    *("first", "second", "metric", "value", "low", "high"),
    *("first_members", "second_members", "same_documents"),
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
        differences: Rows of ``differences.csv``.
        left_out: Groups and answers that are damaged, and in none of these tables.
    """

    members: pd.DataFrame
    best: pd.DataFrame
    success: pd.DataFrame
    differences: pd.DataFrame
    left_out: LeftOut = dataclasses.field(default_factory=LeftOut)


@by_main
def write_tables(folder: SweepFolder, then: Callable[[SweepFolder, SweepTables], None]) -> int:
    """Write the tables of all groups that are finished so far.

    Args:
        folder: Folder of the sweep.
        then: Function that gets the tables, on the process that writes, and makes a report.

    Returns:
        Number of their members.

    Raises:
        UserError: If there are finished groups, and the tables of all are damaged.
    """
    written: list[GroupFolder] = []
    count = 0
    while len(found := [group for group in folder.groups() if group.has_table()]) != len(written):
        tables = _write(folder, found)
        then(folder, tables)
        # Another shard may have finished a group in the meantime.
        count, written = int(tables.members["member"].nunique()), found
    return count


def _write(folder: SweepFolder, found: Sequence[GroupFolder]) -> SweepTables:
    """Write the tables from those of the groups."""
    content, left_out = folder.read(), LeftOut()
    members_of = {group["name"]: group["members"] for group in content["groups"]}
    whole = []
    for group in found:
        is_whole = functools.partial(_is_whole, group, members_of[group.name])
        if left_out.part(group.name, is_whole, False):
            whole.append(group)
    if not whole:
        raise UserError("; ".join(left_out.values()))
    # Tables are joined as text, so that numbers do not change by reading and writing.
    how = {"dtype": str, "keep_default_na": False}
    texts = pd.concat(
        [read_table(group.table, MEMBER_TEXTS, WRITTEN_AGAIN, **how) for group in whole]
    )
    texts["member"] = pd.to_numeric(texts["member"]).astype(int)  # a spreadsheet may write 1.0
    texts = texts.sort_values("member", kind="stable")
    write_table(folder.table, with_shapes(texts, content))
    members = read_table(folder.table, MEMBER_NUMBERS)
    confidence = confidence_of(content)
    known: dict[int, Answers] = {}
    for group in whole:
        read = functools.partial(read_answers, [group.answers])
        known |= left_out.part(f"{group.name}, answers", read, {})
    chosen = best(members)
    tables = SweepTables(
        members,
        chosen,
        success(members, confidence, known),
        differences(members, chosen, confidence, known),
        left_out,
    )
    write_table(folder.best, with_shapes(tables.best, content))
    write_table(folder.success, with_shapes(tables.success, content))
    write_table(folder.differences, tables.differences)
    return tables


def read_members(group: GroupFolder) -> pd.DataFrame:
    """The rows of a group's ``members.csv``.

    Raises:
        UserError: If the file is damaged.
    """
    table = read_table(group.table, MEMBER_NUMBERS, WRITTEN_AGAIN)
    if wrong := _wrong_in(table, group.name):
        raise damaged(group.table, wrong, WRITTEN_AGAIN)
    return table.astype({"member": int})  # a spreadsheet may write 1.0


def _wrong_in(table: pd.DataFrame, group: str) -> str | None:
    """What is wrong with the rows of a group, from which no table can be made then; else None."""
    members = table["member"]
    if table.empty:
        return "it has no rows"
    if members.isna().any() or (members % 1 != 0).any():
        return "a row does not say of which member it is"
    if set(table["group"]) != {group}:
        return f"it has rows of a group {next(iter(set(table['group']) - {group}))!r}"
    for name in (*SHAPE, *HYPERPARAMETERS):
        if table[name].isna().any():
            return f"a row does not say the {name} of its member"
    for metric in KNOWN:
        if lacking := set(members) - set(members[table["metric"] == metric]):
            return f"member {min(lacking):g} lacks the metric {metric!r}"
    twice = table[table.duplicated(["member", "metric"])]
    if len(twice):
        member, metric = twice[["member", "metric"]].iloc[0]
        return f"member {member:g} has {metric!r} twice"
    return None


def _is_whole(group: GroupFolder, members: Collection[int]) -> bool:
    """Whether tables can be made of that of a group with these members; see `read_members`."""
    found = set(read_members(group)["member"])
    if others := found - set(members):
        what = f"it has rows of member {min(others):g}, who is none of the group's"
        raise damaged(group.table, what, WRITTEN_AGAIN)
    if lacking := set(members) - found:
        raise damaged(group.table, f"it lacks member {min(lacking)} of the group", WRITTEN_AGAIN)
    return True


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
    last = last_dev(metrics)
    values = {name: summary[name] for name in ("accuracy", "likelihood", "loss")}
    values |= {"floor": summary["floors"]["best"]}
    values |= {f"dev_{name}": last.get(name) for name in ("accuracy", "loss")}
    values |= {name: summary.get(name) for name in ("step", "diverged_at", "stopped_at")}
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
    of_first = {
        group["name"]: changed_sections(base, changes[group["members"][0]])[0] for group in groups
    }
    for path in sorted({path for change in changes for path in change} - known, reverse=True):
        values = {name: str(value_at(sections, path)) for name, sections in of_first.items()}
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
    """The best member of each shape: a row of ``best.csv``.

    Members that diverged come after all others: their last dev accuracy is of a time before.
    """
    members = wide(table)
    members["diverged"] = members["diverged_at"].notna()
    members = members.sort_values(
        ["group", "diverged", "dev_accuracy", "dev_loss", "member"],
        ascending=[True, True, False, True, True],
        na_position="last",
    )
    chosen = members.drop_duplicates("group").reset_index(drop=True)
    columns = [*SHAPE, "member", *HYPERPARAMETERS, "dev_accuracy", "accuracy", "low", "high"]
    return chosen[[*columns, "floor", "verdict"]]


def success(
    table: pd.DataFrame,
    confidence: float,
    known: Mapping[int, Answers],
    thresholds: Sequence[float] = THRESHOLDS,
) -> pd.DataFrame:
    """Shares of members above each threshold: ``success.csv``.

    Args:
        table: Rows of ``members.csv``.
        confidence: Confidence of the intervals.
        known: Answers of members, by their numbers. If some of a row are missing, its interval is
            Wilson's, which takes members as independent.
        thresholds: Accuracies.

    ``over`` says in which fields the members of a row differ: ``all`` in which the shape's members
    do, ``seeds`` alone, or ``learning_rates`` alone. Columns of hyperparameters in which they may
    differ so are empty; the others hold the value that all of them have.
    """
    rows = []
    for _, of_shape in wide(table).groupby("group", sort=False):
        for over, different in OVER.items():
            common = [name for name in (*SHAPE, *HYPERPARAMETERS) if name not in different]
            parts = itertools.product(of_shape.groupby(common), thresholds)
            for (values, part), threshold in parts:
                hits = int((part["accuracy"] > threshold).sum())
                answers = together(part["member"].tolist(), known)
                low, high = wilson(hits, len(part), confidence)
                if answers is not None:
                    _, (low, high) = share_above(answers, threshold, confidence)
                row = {**dict(zip(common, values, strict=True)), "over": over}
                row |= {"metric": "success_rate", "threshold": threshold}
                row |= {"value": hits / len(part), "low": low, "high": high}
                row |= {"members": len(part), "diverged": int(part["diverged_at"].notna().sum())}
                rows.append(row)
    return pd.DataFrame(rows, columns=SUCCESS)


def differences(
    table: pd.DataFrame, chosen: pd.DataFrame, confidence: float, known: Mapping[int, Answers]
) -> pd.DataFrame:
    """Differences of accuracy between each two shapes: ``differences.csv``.

    Args:
        table: Rows of ``members.csv``.
        chosen: Rows of ``best.csv``; of each shape those members count that differ from the best
            in their seeds alone.
        confidence: Confidence of the intervals.
        known: Answers of members, by their numbers; a shape with a member that has none is left
            out.
    """
    members, of_shape = wide(table), {}
    settings = [name for name in HYPERPARAMETERS if name not in OVER["seeds"]]
    for row in chosen.to_dict("records"):
        alike = (members[settings] == pd.Series(row)[settings]).all(axis=1)
        those = members.loc[alike & (members["group"] == row["group"]), "member"].tolist()
        of_shape[row["group"]] = together(those, known)
    rows = []
    for (first, ours), (second, theirs) in itertools.combinations(of_shape.items(), 2):
        if ours is not None and theirs is not None:
            value, (low, high), shared = difference(ours, theirs, confidence)
            counts = (len(answers.correct) for answers in (ours, theirs))
            row = (first, second, "accuracy", value, low, high, *counts, shared)
            rows.append(dict(zip(DIFFERENCES, row, strict=True)))
    return pd.DataFrame(rows, columns=DIFFERENCES)
