"""Rows of the study's results, one for each member, from the folders of sweeps.

A row has the member's task, model and training (`CONFIG`), its accuracy with interval, floor and
verdict (`ANSWERS`), and the restored shares that findings are about, key corrupted: for each site
and role ``SITE@ROLE`` with the interval in ``SITE@ROLE_low`` and ``..._high``. ``copying`` is the
accuracy of naming the token behind the asked one, and ``gap`` the probability of the right answer
that goes when the key is corrupted. Empty cells were not measured. ``regime`` is a hash of
everything that compared members must share: the task, its documents, and the length of training.
`study.tables` keeps rows in files.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from mecheval_jax.checksums import hash_of
from mecheval_jax.evaluation.config import CORRUPTION, RESTORE
from mecheval_jax.experiment import BOOKKEEPING, Experiment
from mecheval_jax.files import read_table
from mecheval_jax.site_path import SitePath, in_mixer
from mecheval_jax.store.metrics import last_dev
from mecheval_jax.store.remedies import written_by
from mecheval_jax.store.row_selection import attributions, newest, rows_with
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import GroupFolder, SweepFolder
from mecheval_jax.study.published.tables import MODEL, TRAINING, option_text
from mecheval_jax.sweeps.plan import plan_of

CONFIG = (
    "config_hash", "regime", "task", "mixer", "width", "layers", "positions", "option",
    "learning_rate", "beta2", "seed", "data_seed", "steps", "split",
)  # fmt: skip
ANSWERS = (
    "documents", "accuracy", "accuracy_low", "accuracy_high", "dev_accuracy", "dev_documents",
    "floor", "copying", "diverged_at", "verdict", "verdict_layer", "verdict_probability", "gap",
)  # fmt: skip

INPUT = SitePath(1, "block_input").path
"""What layer 1 reads."""

CONVOLVED, READ = in_mixer(0, "conv_output"), in_mixer(0, "conv_input")
"""Output and input of the convolution of layer 0."""

FURTHER = (SitePath.parse(READ).name,)
"""Names of the sites of findings that are not in every run's evidence."""

ROLES = ("key", "value", "next_key", "query")
SITES = (
    *((INPUT, role) for role in ROLES),
    *((SitePath(layer, "mixer_output").path, "query") for layer in range(3)),
    *((SitePath(layer, "block_output").path, "query") for layer in range(3)),
    *((CONVOLVED, role) for role in ROLES),
    *((READ, role) for role in ROLES),
)
"""Places of the restored shares in a row."""


def column_of(site: str, role: str) -> str:
    """Column of the share that a site restores at a role, as tables of results have it."""
    return f"{site}@{role}"


RESTORED = tuple(column_of(site, role) for site, role in SITES)
"""Columns of restored shares; each has two more columns for its interval."""

FURTHER_RESTORED = tuple(column_of(READ, role) for role in ROLES)
"""Those of them at `FURTHER` sites."""

ENDS = ("", "_low", "_high")
COLUMNS = (*CONFIG, *ANSWERS, *(f"{name}{end}" for name in RESTORED for end in ENDS))


def task_label(task: Mapping[str, Any]) -> str:
    """The study's name of a task: ``AR``, ``ATR L=5 S=20``, and fields that differ from these."""
    if task["name"] == "treecall":
        if task["held_out"]:
            return "ATR held-out"
        if list(task["query_types"]) == ["sibling"]:
            return "ATR siblings"
        return f"ATR L={task['symbols']} S={task['terminals']}"
    if task["name"] != "associative_recall":
        return task["name"]
    marks = [
        mark
        for mark, there in (
            ("reverse", task["reverse"]),
            ("held-out", task["held_out"]),
            ("filler", task["filler"]),
        )
        if there
    ]
    return " ".join(["AR", *marks])


DECISIVE = ("task", "model", "training", "evaluation")
"""Sections of a config on which a row depends."""


def config_hash(experiment: Experiment) -> str:
    """Hash of everything on which a member's row depends; equal hashes mean the same member.

    Fields with the default value of their class are left out, so that a field which is added later
    changes no earlier hash.
    """
    known = experiment.as_dict()
    values = {}
    for section in DECISIVE:
        defaults = _defaults(getattr(experiment, section))
        values[section] = {
            name: value
            for name, value in known[section].items()
            if f"{section}.{name}" not in BOOKKEEPING and defaults.get(name, ...) != value
        }
    return hash_of(values)[:16]


def _defaults(section: Any) -> dict[str, Any]:
    """The fields of a section of a config that have defaults, with these, as JSON has them."""
    return {
        field.name: json.loads(json.dumps(field.default, default=dict))
        for field in dataclasses.fields(section)
        if field.default is not dataclasses.MISSING
    }


LATER_FIELDS: frozenset[str] = frozenset()
"""Fields that tasks have got since `regime` was first taken; at their defaults not in it.
None so far."""


def regime(experiment: Experiment) -> str:
    """Hash of what compared members must share: task, documents and length of training."""
    values, training = experiment.as_dict(), experiment.training
    defaults = _defaults(experiment.task)
    common = {
        "task": {
            name: value
            for name, value in values["task"].items()
            if name not in LATER_FIELDS or defaults.get(name, ...) != value
        },
        "max_length": values["model"]["max_length"],
        "training": [training.steps, training.batch_size, training.training_batches,
                     training.warmup_fraction, training.decay],
    }  # fmt: skip
    return hash_of(common)[:8]


def other_than_the_study(experiment: Experiment) -> str:
    """In what a member differs from the study's models and trainings that no column tells; or "".

    Such a member would count as another seed of the study's own model.
    """
    values = experiment.as_dict()
    for section, usual in (("model", MODEL), ("training", TRAINING)):
        for name, value in usual.items():
            if name != "max_length" and values[section][name] != value:
                return f"{section}.{name} is {values[section][name]}, in the study {value}"
    return ""


def config_values(experiment: Experiment) -> dict[str, Any]:
    """The values of the columns `CONFIG` for an experiment."""
    model, training = experiment.model, experiment.training
    values = experiment.as_dict()
    return {
        "config_hash": config_hash(experiment),
        "regime": regime(experiment),
        "task": task_label(values["task"]),
        **model.shape,
        "positions": model.positions,
        "option": option_text(model.mixer, values["model"]["mixer_options"]),
        **{name: getattr(training, name)
           for name in ("learning_rate", "beta2", "seed", "data_seed", "steps")},
        "split": experiment.evaluation.split,
    }  # fmt: skip


def tabulate(path: str | pathlib.Path) -> pd.DataFrame:
    """The results of a sweep's folder: the members of all groups that are finished so far.

    Raises:
        UserError: If there is no sweep, or a file is damaged.
    """
    rows = []
    for member in finished_members(path):
        rows.append(row_of(member.run, member.experiment))
        seen = seen_folder(member.group, member.run)
        if "verdict" in seen.read_summary():
            rows.append(row_of(seen, seen.experiment()))
    return table_of(rows)


class Member(NamedTuple):
    """A member of a sweep whose group is finished.

    Attributes:
        group: Folder of the group.
        run: Folder of the member.
        experiment: Config of the member.
        changes: Fields in which it differs from the sweep's config.
    """

    group: GroupFolder
    run: RunFolder
    experiment: Experiment
    changes: Mapping[str, Any]


def finished_members(path: str | pathlib.Path) -> Iterator[Member]:
    """The members of a sweep's folder in the groups that are finished so far.

    Raises:
        UserError: If there is no sweep, or its file is damaged.
    """
    folder = SweepFolder(path)
    sweep = plan_of(folder.read(), folder.sweep)
    for group in sweep.groups:
        own = folder.group(group.name)
        if own.has_table():
            for number, experiment in zip(group.members, group.experiments, strict=True):
                run = RunFolder(own.member(number))
                yield Member(own, run, experiment, sweep.changes[number])


def seen_folder(group: GroupFolder, run: RunFolder) -> RunFolder:
    """The folder of a member's measurement on dev documents, in which it has seen the pairs."""
    return RunFolder(group.path / "dev" / run.name)


def table_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a table with all of `COLUMNS`."""
    return pd.DataFrame(list(rows), columns=list(COLUMNS))


def row_of(run: RunFolder, experiment: Experiment) -> dict[str, Any]:
    """The row of a finished run.

    Raises:
        UserError: If the run has no summary, or a damaged one.
    """
    summary = run.read_finished()
    row = config_values(experiment) | {
        "documents": experiment.evaluation.documents,
        "dev_accuracy": last_dev(run.read_metrics()).get("accuracy"),
        "dev_documents": experiment.training.evaluation_documents,
        "floor": summary["floors"]["best"],
        "copying": summary["floors"].get("copy_next"),
        **{name: summary.get(name)
           for name in ("accuracy", "accuracy_low", "accuracy_high", "diverged_at", "verdict")},
    }  # fmt: skip
    if not run.has_final_evidence(summary, experiment):
        return row | {"verdict": None}
    if "verdict" in summary:
        row["verdict_layer"] = summary.get("layer")
        row["verdict_probability"] = summary["probabilities"][summary["verdict"]]
    if run.interchange.exists():
        interchange = newest(read_table(run.interchange, RESTORED_FROM, written_by("intervene")))
        row |= {"gap": gap_of(interchange)} | restored(interchange)
    return row


RESTORED_FROM = dict.fromkeys(("metric", "corruption", "direction", "site", "role"), str)
RESTORED_FROM |= dict.fromkeys(("step", "value", "low", "high", "documents"), float)
"""Columns that `restored` and `gap_of` read."""


def gap_of(interchange: pd.DataFrame) -> float | None:
    """What the corruption of the key takes away, in probability; None if that is not there.

    It stands beside what each place restores, for the documents that have the place's role: a row
    of those with most documents has it for all of them.
    """
    clean, corrupted = (
        _of_most_documents(
            rows_with(interchange, metric=metric, corruption=CORRUPTION, direction=RESTORE)
        )
        for metric in ("clean_probability", "corrupted_probability")
    )
    return None if clean is None or corrupted is None else clean - corrupted


def _of_most_documents(rows: pd.DataFrame) -> float | None:
    if rows.empty:
        return None
    return float(rows["value"][rows["documents"].fillna(0).idxmax()])


def restored(interchange: pd.DataFrame) -> dict[str, float]:
    """The cells ``SITE@ROLE`` of a run's table of interventions, of one step."""
    rows = attributions(interchange, CORRUPTION, RESTORE)
    kept = rows.set_index(["site", "role"])
    cells = {}
    for site, role in SITES:
        if (site, role) in kept.index:
            found = kept.loc[(site, role)]
            for end, column in zip(ENDS, ("value", "low", "high"), strict=True):
                cells[column_of(site, role) + end] = float(found[column])
    return cells
