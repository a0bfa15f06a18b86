"""Runs and sweeps side by side: the same quantities of each, their differences, and intervals.

Folders are compared within a task alone. What was trained or evaluated on other documents stands in
a section of its own, and no number is made of two sections. A sweep is compared shape by shape, by
the run of each that answers dev documents best. Every entry is held against the one of the same
shape in the section's first folder (of several, the same model, the one of the same name, or the
most accurate) or, where that has no such shape, against its most accurate one.

Intervals of differences are made from those of the two estimates as if these were independent
(`statistics.intervals.difference_of_estimates`). Where two runs answered the same documents, which
is not looked at, they are wider than they need be.
"""

import dataclasses
import functools
import itertools
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.transparency import Concentration, concentration
from mecheval_jax.evaluation.verdict.readings import has_learned
from mecheval_jax.experiment import Experiment, documents_asked
from mecheval_jax.files import damaged, make_folder, write_table, write_text
from mecheval_jax.forms import mismatch
from mecheval_jax.reporting.numbers import MISSING, number, percent
from mecheval_jax.reporting.table import Column, Table, with_ends
from mecheval_jax.statistics.intervals import difference_of_estimates, wilson
from mecheval_jax.store.final_evidence import evidence_words, with_final_verdict
from mecheval_jax.store.forms import ACCURACY
from mecheval_jax.store.left_out import LeftOut, told
from mecheval_jax.store.remedies import measured_again
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import GroupFolder, SweepFolder
from mecheval_jax.store.sweep_tables import best, read_members, wide

METRICS = ("accuracy", "learned", "concentration")
"""What is compared: answers, the share of a shape's runs that have learned, and how much of the
answer one vector brings back (`evaluation.transparency`)."""

COLUMNS = (
    *("task", "folder", "name", "mixer", "width", "layers", "verdict", "probability", "floor"),
    *("metric", "value", "low", "high", "against", "difference"),
    *("difference_low", "difference_high"),
)
"""Columns of ``comparison.csv``; the difference is the value less that of ``against``."""

SHOWN = (
    *map(Column, ("task", "folder", "name", "verdict", "metric")),
    Column("value", form=percent, ends=True),
    Column("difference", form=percent, ends=True),
    Column("against"),
    Column("floor", form=percent),
    Column("probability", form=number),
    Column("mixer"),
    *(Column(name, form="{:g}".format) for name in ("width", "layers")),
)
"""Columns of ``comparison.md`` and ``comparison.tex``."""

COMPARED = {"floors": {"best": float}} | dict.fromkeys(ACCURACY, float)
"""What the summary of a run that is compared has."""

WithInterval = tuple[float, float, float]
"""A value with the ends of its interval."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A run, or the best run of a sweep's shape.

    Attributes:
        folder: Folder that was given.
        name: Name of what stands there.
        experiment: Experiment of the run.
        summary: Summary of the run.
        estimates: What was measured, of `METRICS`.
    """

    folder: str
    name: str
    experiment: Experiment
    summary: dict[str, Any]
    estimates: dict[str, WithInterval]

    @property
    def shape(self) -> tuple[str, int, int]:
        """Mixer, width and depth."""
        return tuple(self.experiment.model.shape.values())

    @property
    def model(self) -> str:
        """The model, as a text that tells its options apart, too, however they are given."""
        model = self.experiment.as_dict()["model"] | {"mixer_options": None}
        mixers = [str(self.experiment.model.build_mixer(i)) for i in range(model["layers"])]
        return json.dumps([model, mixers], sort_keys=True)

    @property
    def task(self) -> str:
        """The documents that it was trained and evaluated on, as a text that tells tasks apart."""
        return documents_asked(self.experiment.as_dict())


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What was compared, and what could not be.

    Attributes:
        rows: Rows of `COLUMNS`, section by section.
        left_out: Folders, groups and quantities that are not compared, with the reason of each.
    """

    rows: list[dict[str, Any]]
    left_out: LeftOut


def compare(workdirs: Sequence[str | os.PathLike]) -> Comparison:
    """Compare runs and sweeps.

    Args:
        workdirs: Folders of runs and sweeps, in any mixture; one that is named twice counts once.

    Raises:
        UserError: If fewer than two folders are given, or fewer than two things can be compared.
    """
    once = {os.path.realpath(path): str(path) for path in workdirs}
    if len(once) < 2:
        raise UserError("one folder is no comparison: give two or more")
    entries: list[Entry] = []
    left_out = LeftOut(aloud=False)  # shown below the comparison
    for path in once.values():
        entries += left_out.part(path, functools.partial(_entries, path, left_out), [])
    if len(entries) < 2:
        reasons = "; ".join(itertools.starmap(told, left_out.items()))
        raise UserError(f"{len(entries)} finished runs are no comparison ({reasons})")
    held = {entry.experiment.evaluation.confidence: entry.folder for entry in entries}
    if len(held) > 1:
        words = ", ".join(f"{share:g} in {folder}" for share, folder in held.items())
        raise UserError(f"evaluation.confidence is {words}: intervals of one confidence compare")
    sections: dict[str, list[Entry]] = {}
    for entry in entries:
        sections.setdefault(entry.task, []).append(entry)
    names = _task_names([section[0].experiment for section in sections.values()])
    named = zip(names, sections.values(), strict=True)
    return Comparison([row for name, section in named for row in _rows(name, section)], left_out)


def _task_names(experiments: Sequence[Experiment]) -> list[str]:
    """Names of tasks, with a number and, of several of one kind, the options that they differ in.

    Args:
        experiments: An experiment of each task.
    """
    fields = [
        {
            **{name: value for name, value in each.as_dict()["task"].items() if value is not None},
            "split": each.evaluation.split,
        }
        for each in experiments
    ]
    names = []
    for place, (own, each) in enumerate(zip(fields, experiments, strict=True), 1):
        alike = [one for one in fields if one["name"] == own["name"]]
        told = [
            f"{field} {own.get(field, MISSING)}"
            for field in dict.fromkeys(itertools.chain(*alike))
            if field != each.task.hash_field
            and any(one.get(field) != own.get(field) for one in alike)
        ]
        names.append(", ".join((f"{place} {each.task_name}", *told)))
    return names


def write(found: Comparison, output: str | os.PathLike) -> None:
    """Write ``comparison.csv`` and ``left_out.csv``, each as Markdown and LaTeX, too, and a page.

    Raises:
        UserError: If the folder cannot be made.
    """
    # It loads what draws figures, for which a comparison in the terminal need not wait.
    from mecheval_jax.reporting.html.page import render

    folder = pathlib.Path(output)
    make_folder(folder, "output")
    write_table(folder / "comparison.csv", pd.DataFrame(found.rows, columns=COLUMNS))
    left_out = pd.DataFrame(found.left_out.items(), columns=["folder", "reason"])
    write_table(folder / "left_out.csv", left_out)
    rows = [with_ends(row, "value") for row in found.rows]
    Table("comparison", "Runs and sweeps side by side", SHOWN, rows).write_texts(folder)
    reasons = left_out.to_dict("records")
    words = (Column("folder"), Column("reason"))
    Table("left_out", "What is not compared, and why", words, reasons).write_texts(folder)
    of_task = itertools.groupby(rows, lambda row: row["task"])
    sections = [
        (task, Table(f"comparison_{number}", f"Task {task}", SHOWN[1:], list(own)))
        for number, (task, own) in enumerate(of_task, 1)
    ]
    page = render("differences.html.jinja", found.left_out, sections=sections)
    write_text(folder / "comparison.html", page)


def _entries(path: str, left_out: LeftOut) -> list[Entry]:
    """What a folder has to compare; of a sweep, groups that are not finished are noted."""
    sweep = SweepFolder(path)
    if not sweep.sweep.exists():
        return [_entry(path, RunFolder(path).name, RunFolder(path), {}, left_out)]
    groups = ((f"{path}/{group.name}", group) for group in sweep.groups())
    found = [
        left_out.part(name, functools.partial(_of_group, path, group, left_out), None)
        for name, group in groups
    ]
    return [entry for entry in found if entry is not None]


def _of_group(path: str, group: GroupFolder, left_out: LeftOut) -> Entry:
    """The best run of a group."""
    group.check_table()
    if not group.has_table():
        raise UserError(f"not finished ({group.read_status().state})")
    table = read_members(group)
    members, chosen = wide(table), best(table).iloc[0]
    run = RunFolder(group.member(int(chosen["member"])))
    # The share of its runs that have learned, with the confidence of their intervals.
    hits = sum(map(has_learned, members["low"], members["floor"], members["verdict"]))
    ends = wilson(hits, len(members), run.experiment().evaluation.confidence)
    learned = {"learned": (hits / len(members), *ends)}
    return _entry(path, group.name, run, learned, left_out)


def _entry(
    path: str, name: str, folder: RunFolder, estimates: dict[str, WithInterval], left_out: LeftOut
) -> Entry:
    experiment, summary = folder.experiment(), folder.read_summary()
    if not summary.get("finished") or summary.get("accuracy") is None:
        raise UserError("not finished: it has no accuracy yet")
    wrong = mismatch(summary, COMPARED)
    if wrong:
        raise damaged(folder.summary, wrong, measured_again(folder.path))
    known = {"accuracy": tuple(summary[end] for end in ACCURACY), **estimates}
    if folder.has_final_evidence(summary, experiment):
        measured = functools.partial(_concentration, folder, summary)
        found = left_out.part(f"{path}: concentration of {name}", measured, None)
        if found and found.low is not None and found.high is not None:
            known["concentration"] = (found.value, found.low, found.high)
    else:
        left_out.note(f"{path}: verdict of {name}", evidence_words(summary))
        summary = with_final_verdict(summary, experiment)
    return Entry(path, name, experiment, summary, known)


def _concentration(folder: RunFolder, summary: Mapping[str, Any]) -> Concentration | None:
    """How much of the answer one vector brings back; None where it was not looked at."""
    return concentration(folder.attributions_in(summary))


def _rows(task: str, section: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    first = [entry for entry in section if entry.folder == section[0].folder]
    held = [(entry, _held_against(entry, first)) for entry in section]
    for metric in METRICS:
        for entry, against in held:
            if metric not in entry.estimates:
                continue
            verdict = entry.summary.get("verdict")
            row = {
                **{"task": task, "folder": entry.folder, "name": entry.name, "verdict": verdict},
                **entry.experiment.model.shape,
                "probability": entry.summary.get("probabilities", {}).get(verdict),
                "floor": entry.summary["floors"]["best"] if metric == "accuracy" else None,
                "metric": metric,
                **dict(zip(("value", "low", "high"), entry.estimates[metric], strict=True)),
            }
            yield dict.fromkeys(COLUMNS) | row | _difference(metric, entry, against)


def _held_against(entry: Entry, first: Sequence[Entry]) -> Entry:
    """The one of a section's first folder that an entry is compared with.

    It is the same model, or else one of the same mixer, width and depth, or else any. Of several,
    such as groups that differ in their batches, it is the one of the same name if there is one, and
    else the most accurate.
    """
    alike = [one for one in first if one.shape == entry.shape]
    same = [one for one in alike if one.model == entry.model]
    chosen = same or alike
    named = [one for one in chosen if one.name == entry.name]
    return max(named or chosen or first, key=lambda one: one.estimates["accuracy"])


def _difference(metric: str, entry: Entry, against: Entry) -> dict[str, Any]:
    """Columns on the difference; none for what others are held against."""
    if entry is against or metric not in against.estimates:
        return {}
    ours, theirs = entry.estimates[metric], against.estimates[metric]
    low, high = difference_of_estimates(ours, theirs)
    return {
        "against": f"{against.folder}: {against.name}",
        "difference": ours[0] - theirs[0],
        "difference_low": low,
        "difference_high": high,
    }
