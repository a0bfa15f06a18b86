"""Plans of a study at a scale: its members, those that are known, and those left to run.

DIR/
    sweeps/NAME_SCALE/     the sweep of an experiment (`store.sweep_folder`)
    jobs/                  logs of processes that train groups, with `--jobs_at_once`
    results/NAME_SCALE.csv its results, a row a member, with SHA256SUMS (`study.tables`)
    findings.csv, ...      the conclusion from all results (`study.conclusion`)

A member whose config is known from another experiment, scale or machine is not trained again. The
members of a sweep are fixed when it begins; groups of it that are known by then are left out.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Collection, Iterable, Sequence
from types import ModuleType
from typing import Any

import pandas as pd
from ml_collections import ConfigDict

from mecheval_jax.errors import UserError
from mecheval_jax.store.folder import REPORT_FILE, Folder
from mecheval_jax.store.sweep_folder import SweepFolder
from mecheval_jax.study.experiments import EXPERIMENTS, StudyExperiment
from mecheval_jax.study.results import config_hash
from mecheval_jax.study.tables import finished, hashes_of, members_of, read_tables
from mecheval_jax.study.timing import Clock, checkpoint_every
from mecheval_jax.sweeps.plan import Changes, Sweep, plan, plan_of

FINDINGS_FILE = "findings.json"
"""The judgements of all findings, for programs."""

TINY = {
    # Field -> its value in a rehearsal, in every config that has the field.
    "task.pairs": 3,
    "task.key_vocabulary": 16,
    "task.value_vocabulary": 16,
    "task.filler_vocabulary": 4,
    "task.longest": 24,
    "model.max_length": 64,
    "training.batch_size": 4,
    "training.training_batches": 4,
    "training.steps": 8,
    "training.evaluate_every": 4,
    "training.steps_per_dispatch": 4,
    "training.evaluation_documents": 8,
    "evaluation.documents": 24,
    "evaluation.resamples": 50,
}
TINY_WIDTH = 16

MILESTONES = 4
"""Number of checkpoints on the way that members keep, which show when a verdict arose."""

MEASURED_IN_REHEARSAL = ("ar_two_layers", "mamba_taps", "atr_held_out")
"""Experiments with interventions in a rehearsal: the usual sites, the further ones of a finding,
and two splits of documents. In all of them it would take too long, since these programs take the
longest to compile."""


class StudyFolder(Folder):
    """Paths and files of a study."""

    DEPTH = 2 + SweepFolder.DEPTH  # sweeps/NAME, and the folders of that sweep

    def __init__(self, path: str | os.PathLike):
        super().__init__(path)
        self.results = self.path / "results"
        self.sweeps = self.path / "sweeps"
        self.findings_json = self.path / FINDINGS_FILE
        self.report = self.path / REPORT_FILE

    def sweep(self, name: str) -> SweepFolder:
        """The folder of the sweep of a `ScaledExperiment`, by the part's name."""
        return SweepFolder(self.sweeps / name)

    def table(self, name: str) -> pathlib.Path:
        """The path of the results of a `ScaledExperiment`, by the part's name."""
        return self.results / f"{name}.csv"

    def tables(self) -> list[pathlib.Path]:
        """Paths of all tables of results that are there, of every scale."""
        return sorted(self.results.glob("*.csv"))

    def known(self, others: Iterable[str | pathlib.Path] = ()) -> pd.DataFrame:
        """Rows of all tables, of every scale; see `study.tables.merged`.

        Args:
            others: Further tables, or folders of tables, from elsewhere.

        Raises:
            UserError: If a table was edited, or two tables have other numbers of a member.
        """
        return read_tables((*others, *self.tables()))

    def beside(self, name: str, others: Iterable[str | pathlib.Path] = ()) -> pd.DataFrame:
        """The same of all tables but one.

        Args:
            name: Name of the table that is left out.
            others: As of `known`.
        """
        return read_tables((*others, *(one for one in self.tables() if one != self.table(name))))


@dataclasses.dataclass(frozen=True)
class ScaledExperiment:
    """An experiment at a scale.

    Attributes:
        experiment: The experiment.
        name: Name of its folder and of its table.
        base: Config of the experiment.
        changes: Changes of each member to that config.
        wanted: Hash of each member's config, in the same order.
        seen: Hashes on the split dev, if that is measured, too; otherwise empty.
    """

    experiment: StudyExperiment
    name: str
    base: ConfigDict
    changes: Sequence[Changes]
    wanted: tuple[str, ...]
    seen: tuple[str, ...]

    @property
    def scale(self) -> str:
        """The name of the scale, with that of a rehearsal behind it."""
        return self.name.removeprefix(f"{self.experiment.name}_")

    def known_members(self, known: pd.DataFrame, measured: str) -> set[str]:
        """Hashes of the members that tables have; of both splits, if both are measured.

        Args:
            known: Rows of all tables.
            measured: Level of measurement of every member, of `store.sweep_folder.MEASURED`: a
                member is known if a table has at least as much of it.
        """
        done = finished(known, measured)
        seen = self.seen if self.seen and measured != "none" else self.wanted
        return {one for one, *both in zip(self.wanted, self.wanted, seen, strict=True)
                if done.issuperset(both)}  # fmt: skip

    def lacks_members(self, known: pd.DataFrame, measured: str) -> bool:
        """Whether tables lack any of the members; arguments as of `known_members`."""
        return len(self.known_members(known, measured)) < len(self.wanted)

    def left(self, folder: StudyFolder, known: Collection[str]) -> Sweep | None:
        """The sweep of the members that are not known; None if all are.

        A sweep that has begun keeps its members.

        Args:
            folder: Folder of the study.
            known: Those of `known_members`.

        Raises:
            UserError: If the folder's sweep has members of another experiment.
        """
        own = folder.sweep(self.name)
        if own.sweep.exists():
            begun = plan_of(own.read(), own.sweep)
            if not {*hashes_of(begun.groups)} <= {*self.wanted}:
                raise UserError(
                    f"{own.path} holds members that are not of {self.name}: it was made by "
                    "another version; choose another workdir"
                )
            return begun
        members = zip(self.changes, self.wanted, strict=True)
        left = [change for change, name in members if name not in known]
        return plan(self.base, left) if left else None


def experiments_at(
    scale: str,
    smoke: bool,
    configs: Callable[[str], ModuleType],
    clock: Clock,
    names: Sequence[str] = (),
) -> list[ScaledExperiment]:
    """All experiments at a scale, in the order of their runs.

    Args:
        scale: Name of the scale, of `experiments.SCALES`.
        smoke: Whether each has one tiny member, as a rehearsal.
        configs: Function from an experiment's name to its config module.
        clock: Estimates for this machine, which determine the intervals between checkpoints.
        names: Names of the experiments; all if empty.
    """
    return [
        _scaled(experiment, scale, smoke, configs(experiment.name), clock)
        for experiment in EXPERIMENTS
        if not names or experiment.name in names
    ]


def _scaled(
    experiment: StudyExperiment, scale: str, smoke: bool, module: Any, clock: Clock
) -> ScaledExperiment:
    base, changes = module.get_config(), list(module.runs(scale))
    name = f"{experiment.name}_{scale}"
    if smoke:
        name, changes = f"{name}_smoke", _rehearsal(changes)
        for path, value in TINY.items():
            section, field = path.split(".")
            if field in base[section]:
                base[section][field] = value
    sweep = plan(base, changes)
    # Checkpoints are determined here, since hashes of configs leave them out.
    for group in sweep.groups:
        every = checkpoint_every(group.experiments, clock)
        for number in group.members:
            changes[number] = changes[number] | {
                "training.checkpoint_every": every,
                "training.milestones": MILESTONES,
            }
    wanted = members_of(sweep.groups)
    seen = [one.with_evaluation(split="dev") for one in wanted] if experiment.both_splits else []
    hashes = (tuple(config_hash(one) for one in each) for each in (wanted, seen))
    return ScaledExperiment(experiment, name, base, changes, *hashes)


def _rehearsal(changes: Sequence[Changes]) -> list[Changes]:
    """The first member alone, with the width of a rehearsal."""
    return [changes[0] | {"model.width": TINY_WIDTH}]
