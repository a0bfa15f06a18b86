"""Tables of the study's results as files, which grow from one machine to the next.

A table is a CSV file of the rows of `study.results`, with its hash in ``SHA256SUMS`` beside it, in
the form of ``sha256sum``. A member is identified by its ``config_hash`` and ``split``, on any
machine. A table that grows replaces an older row of the same member, and drops no member; of rows
in several tables the fullest is taken, and rows that are as full must have the same numbers.
"""

import hashlib
import io
import itertools
import pathlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mecheval_jax.checksums import SUMS, read_sums, write_lines
from mecheval_jax.console import say
from mecheval_jax.errors import UserError, one_line
from mecheval_jax.evaluation.verdict.rule import NOT_LEARNED
from mecheval_jax.experiment import Experiment
from mecheval_jax.files import damaged, open_file, write_text
from mecheval_jax.store.sweep_folder import MEASURED
from mecheval_jax.study.results import (
    ANSWERS,
    COLUMNS,
    CONFIG,
    FURTHER_RESTORED,
    RESTORED,
    config_hash,
    table_of,
)
from mecheval_jax.sweeps.plan import GroupPlan, Sweep

TEXTS = ("config_hash", "regime", "task", "mixer", "positions", "option", "split", "verdict")
"""Columns that are read as text: a hash may look like a number."""

LATER = ("copying", "gap")
"""Columns that older tables do not have."""

NUMBERS = tuple(name for name in (*CONFIG, *ANSWERS) if name not in (*TEXTS, *LATER))
"""Columns of numbers that every table has."""

SHARES = ("accuracy", "dev_accuracy", "floor")
"""Columns of numbers from 0 to 1."""

COUNTS = ("width", "layers", "steps", "documents", "dev_documents")
"""Columns of whole numbers from 1 on."""

MEMBER = ["config_hash", "split"]
"""Columns that identify a row."""

TABLE = "table"
"""Column with the path of a row's table, while tables are compared."""

SAME = {"rtol": 1e-5, "atol": 1e-6}
"""How far numbers of one measurement may lie apart: tables have six digits."""


def write_table(path: str | pathlib.Path, table: pd.DataFrame) -> None:
    """Write a table, and its hash beside it."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = table.dropna(axis="columns", how="all")
    columns = [name for name in table if name in measured or name in (*CONFIG, *ANSWERS)]
    text = table[columns].to_csv(index=False, lineterminator="\n", float_format="%.6g")
    # The new hash joins the old one before the table changes, so that a kill between two writes
    # leaves either table with its hash.
    before, digest = _sums(path.parent), hashlib.sha256(text.encode()).hexdigest()
    _write_sums(path.parent, before | {path.name: {digest, *before.get(path.name, ())}})
    write_text(path, text)
    _write_sums(path.parent, before | {path.name: {digest}})


def grow_table(
    path: str | pathlib.Path, found: pd.DataFrame, order: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add rows to a table, or make a new one from them; see `merged`.

    Args:
        path: Path of the table.
        found: Rows that are added.
        order: Config hashes in the order of the rows.

    Returns:
        The table before and after.

    Raises:
        UserError: If the table was edited.
    """
    before = read_table(path) if pathlib.Path(path).exists() else table_of([])
    after = merged([before, found], order)
    if len(after):
        write_table(path, after)
    return before, after


def read_table(path: str | pathlib.Path) -> pd.DataFrame:
    """Read a table that `write_table` wrote.

    Raises:
        UserError: If it does not exist, or was edited, or for all that its hash is lacks a column
            or has an accuracy that none can be.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise UserError(f"there is no results table {path}")
    # Another program may be writing the table: its hash is the one of before, or of afterwards.
    expected = _sums(path.parent).get(path.name, frozenset())
    with open_file(path) as file:
        content = file.read()
    expected = {*expected, *_sums(path.parent).get(path.name, ())}
    if not expected:
        raise UserError(f"{path} has no hash in {path.parent / SUMS}: it is no results table")
    if hashlib.sha256(content).hexdigest() not in expected:
        raise UserError(
            f"{path} was edited: its hash is not the one in {path.parent / SUMS}; write it anew"
        )
    # As text: a hash may look like a number, and a column of options may be empty.
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=dict.fromkeys(TEXTS, str))
        if lacking := [name for name in (*TEXTS, *NUMBERS) if name not in table]:
            raise ValueError(f"it lacks the column {lacking[0]!r}")
        numbers = {name: pd.to_numeric(table[name]) for name in NUMBERS}
        table = table.assign(**numbers, option=table["option"].fillna(""))
        if wrong := _wrong_number(table):
            raise ValueError(wrong)
    except (ValueError, TypeError) as error:
        raise damaged(path, one_line(error, 300)) from None
    return table.reindex(columns=list(COLUMNS))


def _wrong_number(table: pd.DataFrame) -> str:
    """What is wrong with the accuracies and counts of a table; "" if nothing is.

    A member that diverged before it was evaluated has none.
    """
    for name in SHARES:
        wrong = table[table[name].notna() & ~table[name].between(0, 1)]
        for _, row in wrong.head(1).iterrows():
            return f"{name} of {member_words(row)} is {row[name]:g}, and must be from 0 to 1"
    for name in COUNTS:
        wrong = table[(table[name] < 1) | (table[name] % 1 > 0)]
        for _, row in wrong.head(1).iterrows():
            return f"{name} of {member_words(row)} is {row[name]:g}, and must be 1, 2, 3, ..."
    lacking = table[table["accuracy"].isna() & table["diverged_at"].isna()]
    for _, row in lacking.head(1).iterrows():
        return f"{member_words(row)} has no accuracy, and did not diverge"
    return ""


def member_words(row: pd.Series) -> str:
    """A member of a table, for a message: what it is, and its hash."""
    named = [row["mixer"], f"width {row['width']:g}", f"{row['layers']:g} layers"]
    named += [row["option"]] if row["option"] else []
    named += [f"rate {row['learning_rate']:g}", f"seed {row['seed']:g}"]
    return f"{', '.join(named)} on {row['task']} ({row['config_hash']}, split {row['split']})"


def read_tables(paths: Iterable[str | pathlib.Path]) -> pd.DataFrame:
    """All rows of several tables, merged.

    Args:
        paths: Tables, or folders with tables.

    Raises:
        UserError: If a table does not exist, or was edited, or a folder has none, or two tables
            have other numbers of one member, and nothing tells which counts.
    """
    tables = dict[pathlib.Path, pd.DataFrame]()
    for path in map(pathlib.Path, paths):
        files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
        if not files:
            raise UserError(f"{path} holds no results table (no .csv file): give another folder")
        tables |= {file: read_table(file) for file in files}
    _check_agreement(tables)
    return merged([*tables.values()])


def _check_agreement(tables: Mapping[pathlib.Path, pd.DataFrame]) -> None:
    """Refuse tables that have other numbers of one member.

    Raises:
        UserError: If they do; the message names the tables and the member.
    """
    rows = [table.assign(**{TABLE: str(path)}) for path, table in tables.items() if len(table)]
    for one, other, column in _conflicts(pd.concat(rows)) if rows else ():
        what = member_words(one)
        if one[TABLE] == other[TABLE]:
            raise damaged(one[TABLE], f"it has two rows with other numbers of {what}")
        raise UserError(
            f"{one[TABLE]} and {other[TABLE]} have other numbers of the same member, {what}: "
            f"{column} is {one[column]} in the former and {other[column]} in the latter; leave one "
            "of the two tables out"
        )


def without_conflicts(found: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """New rows without those of which other tables have other numbers, which stay; says so.

    A group is one program, so a member that another table has is trained again beside one that
    none has.

    Args:
        found: New rows.
        others: Rows of all tables but the one to which the new rows belong.
    """
    if found.empty or others.empty:
        return found
    rows = pd.concat([others.assign(**{TABLE: ""}), found.assign(**{TABLE: "new"})])
    again = {tuple(one[MEMBER]): member_words(one) for one, _, _ in _conflicts(rows)}
    if not again:
        return found
    say(
        f"rows left out: {len(again)}, since other tables have other numbers of their members, "
        f"which stay: {'; '.join(again.values())}"
    )
    return found[[tuple(member) not in again for member in found[MEMBER].itertuples(index=False)]]


def _conflicts(rows: pd.DataFrame) -> Iterator[tuple[pd.Series, pd.Series, str]]:
    """Two rows of one member that are as full, and a column in which their numbers differ.

    Empty cells differ from nothing.
    """
    rows = rows.drop_duplicates(list(COLUMNS)).reset_index(drop=True)
    fullness = _fullness(rows)
    fullest = fullness.groupby([rows[name] for name in MEMBER]).transform("max")
    several = rows[(fullness == fullest) & rows.duplicated(MEMBER, keep=False)]
    for _, same in several.groupby(MEMBER, sort=False):
        for (_, one), (_, other) in itertools.combinations(same.iterrows(), 2):
            differing = (name for name in COLUMNS if _differ(one[name], other[name]))
            if (column := next(differing, None)) is not None:
                yield one, other, column


def _differ(one: Any, other: Any) -> bool:
    if pd.isna(one) or pd.isna(other):
        return False
    if isinstance(one, str) or isinstance(other, str):
        return one != other
    return not np.isclose(one, other, **SAME)


def merged(tables: Sequence[pd.DataFrame], order: Sequence[str] = ()) -> pd.DataFrame:
    """The rows of several tables, one for each member: the fullest, of equal ones the last.

    Args:
        tables: Tables, older ones first.
        order: Config hashes in the order of the rows; other rows come last, in their own order.
    """
    whole = [table for table in tables if len(table)]
    if not whole:
        return table_of([])
    rows = pd.concat(whole, ignore_index=True)
    first = rows.reset_index().groupby(MEMBER, sort=False)["index"].min()
    rows = rows.loc[_fullness(rows).sort_values(kind="stable").index]
    rows = rows.drop_duplicates(MEMBER, keep="last")
    place = {name: rank for rank, name in enumerate(order)}
    ranks = [
        (place.get(name, len(place)), came)
        for name, came in zip(
            rows["config_hash"], first.loc[pd.MultiIndex.from_frame(rows[MEMBER])], strict=True
        )
    ]
    rows = rows.iloc[sorted(range(len(rows)), key=ranks.__getitem__)]
    return rows.reset_index(drop=True)


def _fullness(rows: pd.DataFrame) -> pd.Series:
    """A number for each row that is larger the more was measured of its member."""
    return 2 * _said(rows) + _has_further(rows)


def _said(rows: pd.DataFrame) -> pd.Series:
    """How full rows are: 0 with answers alone, 1 with a verdict, 2 with restored shares, too.

    A run that has learned nothing has nothing to restore, and its row is as full as any: else of
    two trainings of a member the one that learned would always be the one that is kept.
    """
    whole = has_shares(rows) | (rows["verdict"] == NOT_LEARNED)
    return rows["verdict"].notna().astype(int) + whole


def _has_further(rows: pd.DataFrame) -> pd.Series:
    """Which rows have the shares that `launch.study` alone measures, if a row of the member does.

    As in `_said`, the row of a run that has learned nothing counts as one that has them.
    """
    there = rows[list(FURTHER_RESTORED)].notna().any(axis=1)
    of_member = there.groupby([rows[name] for name in MEMBER], dropna=False).transform("any")
    return there | (of_member & (rows["verdict"] == NOT_LEARNED))


def has_shares(rows: pd.DataFrame) -> pd.Series:
    """Which rows have restored shares: of whose models activations were exchanged."""
    return rows[list(RESTORED)].notna().any(axis=1)


def finished(rows: pd.DataFrame, measured: str) -> set[str]:
    """Config hashes of the members that were measured at least at the requested level.

    Args:
        rows: Rows of a table.
        measured: Level of measurement of every member, of `store.sweep_folder.MEASURED`.
    """
    enough = _said(rows) >= MEASURED[::-1].index(measured)
    return set(rows.loc[enough, "config_hash"])


def members_of(groups: Iterable[GroupPlan]) -> list[Experiment]:
    """The members of groups, in the order of their numbers in the sweep."""
    numbered = {
        number: one
        for group in groups
        for number, one in zip(group.members, group.experiments, strict=True)
    }
    return [numbered[number] for number in sorted(numbered)]


def hashes_of(groups: Iterable[GroupPlan]) -> list[str]:
    """Config hashes of the members, in the order of `members_of`."""
    return [config_hash(one) for one in members_of(groups)]


def groups_left(
    sweep: Sweep, known: Collection[str], names: Sequence[str] | None = None
) -> list[GroupPlan]:
    """The groups of a sweep that have an unknown member.

    A group is one program and is trained as a whole: even if several machines train a sweep, either
    all members of a group are known or none.

    Args:
        sweep: Sweep whose groups are chosen.
        known: Config hashes of the known members.
        names: Names of the requested groups; all if None.
    """
    return [group for group in sweep.chosen(names) if not {*hashes_of([group])} <= {*known}]


def names_left(
    sweep: Sweep, tables: Sequence[str], measured: str, names: Sequence[str] | None = None
) -> list[str]:
    """Names of the groups that are missing in tables; prints them.

    Args:
        sweep: Sweep whose groups are chosen.
        tables: Tables, or folders with tables.
        measured: Level of measurement of every member, of `store.sweep_folder.MEASURED`.
        names: Names of the requested groups; all if None.

    Raises:
        UserError: If a table does not exist, or was edited.
    """
    known = finished(read_tables(tables), measured)
    asked, left = sweep.chosen(names), groups_left(sweep, known, names)
    say(
        f"{len(asked) - len(left)} of {len(asked)} groups are in {', '.join(tables)} already; "
        f"left: {', '.join(group.name for group in left) or 'none'}"
    )
    return [group.name for group in left]


def _sums(folder: pathlib.Path) -> dict[str, set[str]]:
    """The hashes of the tables in a folder; while a table is written it has its old and new one."""
    file = folder / SUMS
    sums: dict[str, set[str]] = {}
    for name, digest in read_sums(file) if file.exists() else ():
        sums.setdefault(name, set()).add(digest)
    return sums


def _write_sums(folder: pathlib.Path, sums: dict[str, set[str]]) -> None:
    each = ((name, digest) for name in sorted(sums) for digest in sorted(sums[name]))
    write_lines(folder, each)
