"""The requested part of the study, and the work that it leaves."""

import dataclasses
from collections.abc import Sequence

import pandas as pd

from mecheval_jax.errors import UserError, choose
from mecheval_jax.fields import check_once
from mecheval_jax.store.sweep_folder import MEASURED
from mecheval_jax.study.experiments import SCALES, experiment_named
from mecheval_jax.study.plans import MEASURED_IN_REHEARSAL, ScaledExperiment, StudyFolder
from mecheval_jax.study.tables import groups_left
from mecheval_jax.sweeps.plan import GroupPlan, Sweep


@dataclasses.dataclass(frozen=True)
class StudyRequest:
    """The part of the study that a user requests.

    Attributes:
        scale: Name of the scale, of `experiments.SCALES`.
        only: Names of experiments; all if empty.
        budget: Hours after which no group is begun; None for no limit. A group whose estimate goes
            beyond it is not begun, either.
        smoke: Whether each experiment has one tiny member.
        interventions: Level of measurement of every member, of `store.sweep_folder.MEASURED`.
        tables: Results tables from elsewhere, whose members are not trained again.
        dry_run: Whether to print what would be run, and run nothing.
        groups: Names of groups of the one experiment that `only` names; all if empty.
        jobs_at_once: Number of groups that are computed at the same time, each on its share of the
            cores, by a process of its own.
        train_only: Whether to train and measure groups, and leave tables and judgements to another
            command. Several such commands may run in one folder at the same time.

    Raises:
        UserError: If a value is not possible.
    """

    scale: str = "laptop"
    only: tuple[str, ...] = ()
    budget: float | None = None
    smoke: bool = False
    interventions: str = "full"
    tables: tuple[str, ...] = ()
    dry_run: bool = False
    groups: tuple[str, ...] = ()
    jobs_at_once: int = 1
    train_only: bool = False

    def __post_init__(self):
        choose("scale", self.scale, SCALES)
        choose("interventions", self.interventions, MEASURED)
        for name in self.only:
            experiment_named(name)
        if self.budget is not None and not self.budget >= 0:
            raise UserError(f"--budget is {self.budget}: hours, 0 or more")
        if self.jobs_at_once < 1:
            raise UserError(f"--jobs_at_once is {self.jobs_at_once}: at least 1")
        check_once("--only", self.only)
        if self.groups and len(self.only) != 1:
            named = ",".join(self.groups)
            raise UserError(f"--groups={named}: groups of one experiment, to be named by --only")

    def measured(self, part: ScaledExperiment) -> str:
        """The level of measurement of the members of an experiment."""
        rehearsed = self.smoke and part.experiment.name not in MEASURED_IN_REHEARSAL
        return "none" if rehearsed else self.interventions


@dataclasses.dataclass(frozen=True)
class Work:
    """The work that an experiment leaves.

    Attributes:
        part: The experiment.
        sweep: The sweep of its members that were not known when it began; None if all were.
        done: The requested groups that are finished in this folder.
        to_train: The requested groups that are not, and have a member that is not known.
        not_asked: The other groups of that kind, which are not requested.
    """

    part: ScaledExperiment
    sweep: Sweep | None = None
    done: Sequence[GroupPlan] = ()
    to_train: Sequence[GroupPlan] = ()
    not_asked: Sequence[GroupPlan] = ()


def work_of(
    part: ScaledExperiment, folder: StudyFolder, rows: pd.DataFrame, request: StudyRequest
) -> Work:
    """The work that an experiment leaves.

    Args:
        part: The experiment.
        folder: Folder of the study.
        rows: Rows of all tables.
        request: Requested part of the study.

    Raises:
        UserError: If a group that was named is not there, or nothing is left of which it could be,
            or the sweep is of another version.
    """
    measured = request.measured(part)
    known = part.known_members(rows, measured)
    sweep = part.left(folder, known)
    if sweep is None:
        if request.groups:
            raise UserError(
                f"--groups={','.join(request.groups)}: no group of {part.name} is left to run, "
                f"since the tables have all {len(part.wanted)} members; run it without --groups"
            )
        return Work(part)
    own, asked = folder.sweep(part.name), sweep.chosen(request.groups or None)
    done = [one for one in sweep.groups if own.group(one.name).is_finished(measured)]
    left = [one for one in groups_left(sweep, known) if one not in done]
    return Work(
        part,
        sweep,
        [one for one in done if one in asked],
        [one for one in left if one in asked],
        [one for one in left if one not in asked],
    )
