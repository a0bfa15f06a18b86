"""Collected results: tables that grow from one machine to the next, and the missing members.

FOLDER/
    NAME.csv     the members of a sweep that any machine has trained so far (`study.tables`)
    NAME.json    the sweep that they belong to, an exact copy of its ``sweep.json``. A later
                 version may write fields into it that this one does not have: sweeps are the same
                 if their members are, by their hashes, which leave defaults out
    SHA256SUMS   the hash of each table
    findings/    the conclusion from all tables together (`study.conclusion`)
"""

import os
import pathlib
from collections.abc import Iterable

from mecheval_jax.console import say
from mecheval_jax.errors import UserError
from mecheval_jax.experiment import Experiment
from mecheval_jax.files import read_json, write_bytes
from mecheval_jax.store.forms import PROVENANCE, SWEEP
from mecheval_jax.store.sweep_folder import MEASURED, SweepFolder
from mecheval_jax.study.cells import check_distinct, check_regimes
from mecheval_jax.study.conclusion import conclude
from mecheval_jax.study.coverage import coverage_of
from mecheval_jax.study.group_names import listed
from mecheval_jax.study.page import Conclusion
from mecheval_jax.study.plans import ScaledExperiment
from mecheval_jax.study.results import config_hash, other_than_the_study, tabulate
from mecheval_jax.study.tables import (
    finished,
    groups_left,
    grow_table,
    hashes_of,
    members_of,
    merged,
    read_table,
    read_tables,
    without_conflicts,
)
from mecheval_jax.sweeps.plan import plan_of

FINDINGS_FOLDER = "findings"

CONFIG_FLAG = "--config="


def name_of(sweep: SweepFolder) -> str:
    """The name of a sweep's table: that of its config file or, without one, of its folder."""
    arguments = read_json(sweep.provenance, PROVENANCE, absent={}).get("arguments", [])
    for argument in arguments:
        if argument.startswith(CONFIG_FLAG):
            return pathlib.Path(argument[len(CONFIG_FLAG) :].partition(":")[0]).stem
    return sweep.path.absolute().name


def _checked(name: str) -> str:
    """The name of a table, which stands beside the others."""
    if name != pathlib.Path(name).name:
        raise UserError(f"--table={name}: give the name of a table alone, without a folder")
    return name


def _members(path: pathlib.Path) -> list[Experiment]:
    """All members that a ``sweep.json`` describes."""
    return members_of(plan_of(read_json(path, SWEEP), path).groups)


def add_sweep(
    folder: str | os.PathLike, sweep_path: str | os.PathLike, name: str | None = None
) -> str:
    """Merge the finished members of a sweep into its table, and print a summary.

    Args:
        folder: Folder of the tables.
        sweep_path: Folder of the sweep, finished or under way.
        name: Name of the table; see `name_of` if None.

    Returns:
        The name of the table.

    Raises:
        UserError: If there is no such sweep or no finished group, or the name is that of no file,
            or a table was edited or is another sweep's, or its runs cannot be compared with those
            that are there, or other tables have other numbers of all its members.
    """
    folder, sweep = pathlib.Path(folder), SweepFolder(sweep_path)
    name = _checked(name or name_of(sweep))
    members = _members(sweep.sweep)
    hashes = [config_hash(one) for one in members]
    table, config = folder / f"{name}.csv", folder / f"{name}.json"
    if config.exists() and [config_hash(one) for one in _members(config)] != hashes:
        raise UserError(
            f"{config} is the config of another sweep than {sweep.path}: give its table another "
            "name by --table"
        )

    # What was found, and whether it can be compared with what is there.
    for member in members:
        if other := other_than_the_study(member):
            raise UserError(f"{sweep.path} has members of other models than the study: {other}")
    found = tabulate(sweep.path)
    if found.empty:
        raise UserError(f"no group of {sweep.path} is finished yet: there is nothing to add")
    others = read_tables(sorted({*folder.glob("*.csv")} - {table}))
    own = [read_table(table)] if table.exists() else []
    nothing = f"nothing of {sweep.path} is added to {folder}"
    try:
        together = merged([others, *own, found])
        check_regimes(together)
        check_distinct(together)
    except UserError as error:
        raise UserError(f"{nothing}: {error}") from None
    found = without_conflicts(found, others)
    if found.empty:
        raise UserError(f"{nothing}: its members are in other tables there, with other numbers")

    # The files.
    folder.mkdir(parents=True, exist_ok=True)
    before, after = grow_table(table, found, hashes)
    # Last: a config without its table would stop whoever reads the folder.
    write_bytes(config, sweep.sweep.read_bytes())
    known = set(before["config_hash"])
    new = set(found["config_hash"]) - known
    say(
        f"{table}: {len(new)} members are new, "
        f"{len(set(found['config_hash']) & known)} were there, {len(after)} rows in all"
    )
    return name


def missing(folder: str | os.PathLike) -> list[str]:
    """Members of the sweeps of a folder that none of its tables has, a line for each kind.

    Raises:
        UserError: If a table was edited, or a config is damaged.
    """
    folder = pathlib.Path(folder)
    configs, lines = sorted(folder.glob("*.json")), []
    # A member may be in the table of another sweep, too; a config without its table stops here.
    rows = read_tables(sorted({*folder.glob("*.csv"), *(x.with_suffix(".csv") for x in configs)}))
    trained, measured = (finished(rows, asked) for asked in (MEASURED[-1], MEASURED[0]))
    for config in configs:
        sweep = plan_of(read_json(config, SWEEP), config)
        every = hashes_of(sweep.groups)
        for known, what in ((trained, "to train"), (measured | ({*every} - trained), "to measure")):
            groups = groups_left(sweep, known)
            members = sum(name not in known for name in every)
            if members:
                left = f"{members} of {len(every)} members {what}"
                lines.append(f"{config.stem}: {left} ({listed(groups, sweep.groups)})")
    return lines


def conclude_all(
    folder: str | os.PathLike, experiments: Iterable[ScaledExperiment] = ()
) -> Conclusion:
    """Judge the findings from all tables of a folder, and write the pages into it.

    Args:
        folder: Folder of the tables.
        experiments: Experiments at one scale, of which the pages say how many members have a row.

    Raises:
        UserError: If a table was edited, or a model is there twice.
    """
    folder = pathlib.Path(folder)
    rows = read_tables(sorted(folder.glob("*.csv")))
    coverage = coverage_of(experiments, rows)
    what = "what was run so far"
    return conclude(folder / FINDINGS_FOLDER, what, rows, missing(folder), coverage)
