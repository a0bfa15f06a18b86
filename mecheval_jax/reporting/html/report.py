"""The report of runs: one HTML file that contains its figures and needs no network."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mecheval_jax.console import say
from mecheval_jax.errors import UserError
from mecheval_jax.experiment import documents_asked
from mecheval_jax.files import check_folder, make_folder, write_text
from mecheval_jax.reporting.html import reading
from mecheval_jax.reporting.html.comparison import comparison
from mecheval_jax.reporting.html.page import render
from mecheval_jax.reporting.html.reading import Reported
from mecheval_jax.reporting.html.sections import section
from mecheval_jax.reporting.html.sweep_report import write_sweep_report
from mecheval_jax.store.folder import REPORT_FILE
from mecheval_jax.store.left_out import LeftOut
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import SweepFolder
from mecheval_jax.store.sweep_tables import write_tables

RUNS = "runs"
"""Folder of an output with a folder for the tables and figures of each of several runs."""

WHOLE_RUNS = 12
"""Number of runs up to which a page shows all of each; of more it shows verdicts alone."""


def write(workdirs: Sequence[str], output: str | None = None) -> pathlib.Path:
    """Draw the figures and write the tables of every run, and the report of all.

    Args:
        workdirs: Folders of runs, or of sweeps; a run that is named twice counts once, also where
            it is named as a member of a sweep. A single sweep has a report of its own kind, in its
            folder; among others, and with an output, it stands for its members.
        output: Folder of the report and of all its tables and figures; if None each run has its
            own, and the report is in the first folder that is there.

    Returns:
        Path of ``report.html``.

    Raises:
        UserError: If no folder holds a run, the only one is damaged, or the output is a file. Of
            several what is damaged is left out, and the page says why.
    """
    given = list({os.path.realpath(path): path for path in map(pathlib.Path, workdirs)}.values())
    if not given:
        raise UserError("no run to report: give a workdir")
    if len(given) == 1 and output is None and SweepFolder(given[0]).sweep.exists():
        return _write_sweep(SweepFolder(given[0]))
    if output is not None:
        check_folder(pathlib.Path(output), "output")
    # The runs that can be read, and a place for the report.
    left_out, folders = LeftOut(), list[RunFolder]()
    for path in given:
        read = functools.partial(_runs_of, path)
        folders += read() if len(given) == 1 else left_out.part(str(path), read, [])
    folders = list({os.path.realpath(folder.path): folder for folder in folders}.values())
    runs = reading.read_all(folders, left_out)
    there = next((path for path in given if path.is_dir()), given[0])  # not one that is mistyped
    home = pathlib.Path(output) if output is not None else there
    make_folder(home, "output")
    several = max(len(folders), len(given)) > 1
    if output is not None:  # the folders of the runs may be another's, and are left as they are
        runs = [_written_to(run, home / RUNS / run.name if several else home) for run in runs]
    # A section for each run, the comparisons of those that have one, and the page.
    brief = len(runs) > WHOLE_RUNS
    sections = {}
    for number, run in enumerate(runs):
        drawn = functools.partial(section, run, f"run{number}", brief)
        sections[run.name] = left_out.part(run.name, drawn, None) if several else drawn()
    shown = [run for run in runs if sections[run.name] is not None]
    if not shown:
        raise UserError(f"no run that can be reported: {next(iter(left_out.values()))}")
    compared = list(_comparisons(shown, sections, home, left_out)) if several else []
    page = render(
        "report.html.jinja",
        left_out,
        runs=[sections[run.name] for run in shown],
        comparisons=compared,
        whole_runs=WHOLE_RUNS,
    )
    path = home / REPORT_FILE
    write_text(path, page)
    say(f"report: {path}")
    return path


def _written_to(run: Reported, folder: pathlib.Path) -> Reported:
    """The same run, whose tables and figures go into another folder."""
    return dataclasses.replace(run, home=folder)


def _write_sweep(folder: SweepFolder) -> pathlib.Path:
    if not write_tables(folder, write_sweep_report):
        raise UserError(f"{folder.path}: no group of this sweep is finished: nothing to report yet")
    return folder.report


def _runs_of(path: pathlib.Path) -> list[RunFolder]:
    """The run in a folder, or the members of a sweep that have been written."""
    sweep = SweepFolder(path)
    if not sweep.sweep.exists():
        return [RunFolder(path)]
    members = [group.members for group in sweep.groups()]
    found = sorted(path for folder in members if folder.is_dir() for path in folder.iterdir())
    return [run for run in map(RunFolder, found) if run.config.exists()]


def _comparisons(
    runs: Sequence[Reported], sections: Mapping[str, Any], home: pathlib.Path, left_out: LeftOut
) -> Iterator[dict[str, Any]]:
    """Comparisons of the runs of each task; runs of different tasks are not compared."""
    by_task: dict[str, list[Reported]] = {}
    for run in runs:
        by_task.setdefault(documents_asked(run.config), []).append(run)
    for number, of_task in enumerate(by_task.values()):
        prefix = "comparison" if len(by_task) == 1 else f"comparison{number}"
        ids = {run.name: sections[run.name]["id"] for run in of_task}
        yield comparison(of_task, ids, home, prefix, left_out)
