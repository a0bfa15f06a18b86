"""Tables of the study's results as files, which grow from one machine to the next.

A table is a CSV file of the rows of `study.results`, with its hash in ``SHA256SUMS`` beside it, in
the form of ``sha256sum``. A member is identified by its ``config_hash`` and ``split``, on any
machine: a merge replaces an older row of the same member, and drops no member.
"""

import hashlib
import io
import pathlib
from collections.abc import Collection, Iterable, Sequence

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

MEMBER = ["config_hash", "split"]
"""Columns that identify a row."""


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
        UserError: If it does not exist, or was edited, or lacks a column for all that its hash is.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise UserError(f"there is no results table {path}")
    with open_file(path) as file:
        content = file.read()
    expected = _sums(path.parent).get(path.name)
    if expected is None:
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
    except (ValueError, TypeError) as error:
        raise damaged(path, one_line(error, 300)) from None
    return table.reindex(columns=list(COLUMNS))


def read_tables(paths: Iterable[str | pathlib.Path]) -> pd.DataFrame:
    """All rows of several tables, merged.

    Args:
        paths: Tables, or folders with tables.

    Raises:
        UserError: If a table does not exist, or was edited, or a folder has none.
    """
    tables = []
    for path in map(pathlib.Path, paths):
        files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
        if not files:
            raise UserError(f"{path} holds no results table (no .csv file): give another folder")
        tables += [read_table(file) for file in files]
    return merged(tables)


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
    rows = rows.loc[(2 * _said(rows) + _has_further(rows)).sort_values(kind="stable").index]
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
