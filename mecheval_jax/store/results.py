"""What was found of a run, or of the members of a group, written into the files of its folder."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from mecheval_jax.evaluation.accuracy import summarize
from mecheval_jax.evaluation.slices import slice_accuracy
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.evaluation.verdict.measurement import Measured
from mecheval_jax.evaluation.verdict.rule import label
from mecheval_jax.evaluation.verdict.transitions import find_transitions
from mecheval_jax.evaluation.verdict.verdict import Verdict
from mecheval_jax.experiment import Experiment
from mecheval_jax.files import write_table
from mecheval_jax.partitioning.multihost import by_main
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import GroupFolder
from mecheval_jax.store.sweep_tables import MEMBERS, member_rows
from mecheval_jax.store.tables import (
    CONTROLS,
    INTERCHANGE,
    SLICES,
    TRANSITIONS,
    identity,
    long_table,
)
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.scoring import AnswerScores


@by_main
def record_answers(
    folder: RunFolder, experiment: Experiment, step: int, answers: AnswerScores, batch: Batch
) -> dict[str, Any]:
    """Write what a trained model answers: ``slices.csv`` and the summary of a finished run.

    Returns:
        The scores, as of `evaluation.accuracy.summarize`.
    """
    scores = summarize(answers, Subject.of(experiment, None, batch))
    sliced = slice_accuracy(
        experiment.task.properties(batch),
        answers.correct,
        batch.weights,
        experiment.evaluation.confidence,
    )
    write_table(folder.slices, pd.DataFrame(sliced, columns=SLICES))
    folder.update_summary(
        finished=True,
        step=step,
        **identity(experiment),
        **{name: _finite(score) for name, score in scores.items()},
    )
    return scores


def _finite(score: Any) -> Any:
    """A score as JSON can hold it; a member that diverged may have answers that are no numbers."""
    return None if isinstance(score, float) and not math.isfinite(score) else score


@dataclasses.dataclass(frozen=True)
class MemberResult:
    """What became of one member of a group.

    Attributes:
        number: Number of the member in the sweep.
        experiment: Experiment of the member.
        batch: Evaluation documents.
        answers: Answers to the evaluation documents.
        findings: Findings of interventions; None if none were made.
        step: Number of steps that were taken.
        events: Steps at which the member ``diverged_at`` or ``stopped_at``, where it did.
    """

    number: int
    experiment: Experiment
    batch: Batch
    answers: AnswerScores
    findings: Measured | None
    step: int
    events: dict[str, int]


@by_main
def record_group(folder: GroupFolder, count: int, results: Iterable[MemberResult]) -> None:
    """Write the run folder of every member of a group, and the table of the group.

    Args:
        folder: Folder of the group.
        count: Number of members of the group.
        results: Results of the members, in the order of the group's checkpoints; not asked for on
            processes that do not write.
    """
    metrics, rows = folder.read_metrics(), []
    for place, result in enumerate(results):
        own = [row for row in metrics if row["member"] == result.number]
        run = RunFolder(folder.member(result.number))
        run.open_as_member(result.experiment, place, count, own)
        record_answers(run, result.experiment, result.step, result.answers, result.batch)
        run.update_summary(**result.events)
        if result.findings is not None:
            record = Record(run)
            record.add(result.experiment, result.step, result.findings)
            record.write()
        summary = run.read_summary()
        rows += member_rows(result.number, folder.name, result.experiment, summary, own)
    write_table(folder.table, pd.DataFrame(rows, columns=MEMBERS))


class Record:
    """Findings of one run at one step or several, in order.

    Args:
        folder: Folder of the run.
    """

    def __init__(self, folder: RunFolder):
        self._folder = folder
        self._found: list[tuple[int, Measured]] = []
        self._experiment: Experiment | None = None

    def add(self, experiment: Experiment, step: int, findings: Measured) -> None:
        """What was found with the parameters of a step, under an experiment's evaluation."""
        self._experiment = experiment
        self._found.append((step, findings))

    def write(self) -> tuple[pd.DataFrame, Verdict | None]:
        """Write all files; the table of the grid, and the verdict at the last step."""
        folder, (step, last) = self._folder, self._found[-1]
        table = self._table("interchange", INTERCHANGE)
        write_table(folder.interchange, table)
        if last.evidence is None or last.verdict is None:
            return table, None  # the task has none, so neither did an earlier call
        write_table(folder.controls, self._table("controls", CONTROLS))
        last.evidence.write(folder.evidence)
        folder.update_summary(
            **(last.accuracy if self._is_of_the_run(step) else {}),
            evidence_step=step,
            **last.verdict.as_dict(),
            over_training=self._over_training(),
        )
        return table, last.verdict

    def _is_of_the_run(self, step: int) -> bool:
        """Whether the answers are the run's own: at its end, to the documents of its config.

        Otherwise they stand with the verdict's evidence alone; unless the run has none yet.
        """
        summary, own = self._folder.read_summary(), self._folder.experiment().evaluation
        used = self._experiment.evaluation
        same = (used.documents, used.split) == (own.documents, own.split)
        return "accuracy" not in summary or (same and step >= summary.get("step", 0))

    def _table(self, rows: str, columns: tuple[str, ...]) -> pd.DataFrame:
        placed = [
            {"step": step, **row} for step, found in self._found for row in getattr(found, rows)
        ]
        return long_table(placed, self._constants(), columns)

    def _constants(self) -> dict[str, Any]:
        split = self._experiment.evaluation.split
        return {"run": self._folder.name, "split": split} | identity(self._experiment)

    def _over_training(self) -> dict[str, Any] | None:
        """Verdicts and their transitions over the steps; None for a single step."""
        self._folder.transitions.unlink(missing_ok=True)
        if len(self._found) < 2:
            return None
        steps = [step for step, _ in self._found]
        changes = find_transitions(
            steps,
            [label(found.verdict.verdict, found.verdict.layer) for _, found in self._found],
            [found.replicates for _, found in self._found],
            self._experiment.evaluation.confidence,
        )
        rows = [
            {
                "metric": "step",
                "value": change.step,
                "documents": len(self._found[0][1].evidence.clean),
            }
            | {name: getattr(change, name) for name in ("before", "after", "low", "high")}
            for change in changes
        ]
        table = long_table(rows, self._constants(), TRANSITIONS)
        for column in ("value", "low", "high"):
            table[column] = table[column].astype("Int64")  # an open end is an empty cell
        write_table(self._folder.transitions, table)
        fields = ("verdict", "layer", "binding", "probabilities")
        return {
            "steps": [
                {"step": step, "accuracy": found.accuracy["accuracy"]}
                | {name: getattr(found.verdict, name) for name in fields}
                for step, found in self._found
            ],
            "transitions": [dataclasses.asdict(change) for change in changes],
        }
