"""Results of a run, or of the members of a group, written into their folders: CSV and JSON.

`store.columns` lists the columns of the tables. What else stands in a run's folder is written
elsewhere: metrics over steps by `store.metrics`, tables of analyses by `runs.analyze`, and those of
the report by `reporting.html.sections`.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from mecheval_jax.evaluation.accuracy import slice_accuracy, summarize
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.evaluation.verdict.measurement import Judged
from mecheval_jax.evaluation.verdict.rule import label
from mecheval_jax.evaluation.verdict.transitions import find_transitions
from mecheval_jax.evaluation.verdict.verdict import Verdict
from mecheval_jax.experiment import Experiment
from mecheval_jax.files import write_table
from mecheval_jax.partitioning.multihost import by_main
from mecheval_jax.statistics.bootstrap import Bootstrap
from mecheval_jax.store.columns import (
    CONTROLS,
    INTERCHANGE,
    SLICES,
    TRANSITIONS,
    identity,
    long_table,
)
from mecheval_jax.store.metrics import by_member
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_answers import answers_of_member, write_answers
from mecheval_jax.store.sweep_folder import GroupFolder
from mecheval_jax.store.sweep_tables import MEMBERS, member_rows
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.example import example
from mecheval_jax.tasks.scoring import AnswerScores


@by_main
def record_answers(
    folder: RunFolder, experiment: Experiment, step: int, answers: AnswerScores, batch: Batch
) -> dict[str, Any]:
    """Write the answers of a trained model: slices, an example, the summary of a finished run.

    Returns:
        The scores, as `evaluation.accuracy.summarize` gives them.
    """
    scores = summarize(answers, Subject.of(experiment, None, batch))
    evaluation = experiment.evaluation
    sliced = slice_accuracy(
        experiment.task.properties(batch),
        answers.correct,
        batch.weights,
        evaluation.confidence,
        Bootstrap([len(answers.correct)], evaluation.resamples, evaluation.seed),
    )
    write_table(folder.slices, pd.DataFrame(sliced, columns=SLICES))
    folder.write_example(example(experiment.task, batch, 0))
    folder.update_summary(
        finished=True,
        step=step,
        **identity(experiment),
        **_finite(scores),
    )
    return scores


def _finite(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scores as JSON can hold them; answers of a member that diverged may be NaN."""
    return {
        name: None if isinstance(score, float) and not math.isfinite(score) else score
        for name, score in scores.items()
    }


@dataclasses.dataclass(frozen=True)
class MemberResult:
    """Result of one member of a group.

    Attributes:
        number: Number of the member in the sweep.
        experiment: Experiment of the member.
        batch: Evaluation documents.
        answers: Answers to the evaluation documents.
        judged: Results of interventions and the verdict; None if no interventions were made.
        step: Number of steps taken.
        events: Steps at which the member ``diverged_at`` or ``stopped_at``, if it did.
    """

    number: int
    experiment: Experiment
    batch: Batch
    answers: AnswerScores
    judged: Judged | None
    step: int
    events: dict[str, int]


@by_main
def record_group(folder: GroupFolder, count: int, results: Iterable[MemberResult]) -> None:
    """Write the run folder of every member of a group, and the table of the group.

    Args:
        folder: Folder of the group.
        count: Number of members of the group.
        results: Results of the members, in the order of the group's checkpoints; only read on
            the process that writes.
    """
    # Until all is written, the group is not finished: it may have been, with less measured.
    folder.table.unlink(missing_ok=True)
    metrics, rows, answers = by_member(folder.read_metrics()), [], {}
    for place, result in enumerate(results):
        own = metrics.get(result.number, [])
        run = RunFolder(folder.member(result.number))
        run.open_as_member(result.experiment, place, count, own)
        record_answers(run, result.experiment, result.step, result.answers, result.batch)
        answers[result.number] = answers_of_member(result.answers, result.batch)
        run.update_summary(**result.events)
        if result.judged is not None:
            record_judged(run, result.experiment, {result.step: result.judged})
        summary = run.read_summary()
        rows += member_rows(result.number, folder.name, result.experiment, summary, own)
    write_answers(folder.answers, answers)
    write_table(folder.table, pd.DataFrame(rows, columns=MEMBERS))


def record_judged(
    folder: RunFolder, experiment: Experiment, found: Mapping[int, Judged]
) -> tuple[pd.DataFrame, Verdict | None]:
    """Write the results of interventions; returns the table of the grid, and the last verdict.

    Args:
        folder: Folder of the run.
        experiment: Experiment whose evaluation was used.
        found: Results and verdict by the training step of the parameters, in order.
    """
    used, (step, last) = experiment.evaluation, list(found.items())[-1]
    constants = _constants(folder, experiment)

    def table_of(rows: str, columns: Sequence[str]) -> pd.DataFrame:
        placed = [{"step": at, **row} for at, one in found.items() for row in getattr(one, rows)]
        return long_table(placed, constants, columns)

    table = table_of("interchange", INTERCHANGE)
    write_table(folder.interchange, table)
    if last.evidence is None or last.verdict is None:
        return table, None  # a verdict on other documents, if there is one, stays as it is
    write_table(folder.controls, table_of("controls", CONTROLS))
    last.evidence.write(folder.evidence)
    folder.transitions.unlink(missing_ok=True)
    over_training = None
    if len(found) > 1:
        changes = _transitions(found, used.confidence)
        documents = {"metric": "step", "documents": int(last.evidence.documents.sum())}
        rows = ({**change, **documents, "value": change["step"]} for change in changes)
        # An open end of an interval is an empty cell.
        whole = dict.fromkeys(("value", "low", "high"), "Int64")
        write_table(folder.transitions, long_table(rows, constants, TRANSITIONS).astype(whole))
        over_training = {"steps": [_standing(step, each) for step, each in found.items()]}
        over_training["transitions"] = changes

    # Answers to the documents of the run's own config belong to the run. Others are kept only as
    # evidence of the verdict, unless the run has no answers yet.
    summary, own = folder.read_summary(), folder.experiment().evaluation
    same = (used.documents, used.split) == (own.documents, own.split)
    of_the_run = "accuracy" not in summary or (same and step >= summary.get("step", 0))
    folder.update_summary(
        **(_finite(last.accuracy) if of_the_run else {}),
        evidence_step=step,
        evidence_split=used.split,
        **last.verdict.as_dict(),
        over_training=over_training,
    )
    return table, last.verdict


def record_grid(
    folder: RunFolder, experiment: Experiment, step: int, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write a grid alone, ``interchange.csv``; a verdict that the run has stays as it is.

    Args:
        folder: Folder of the run.
        experiment: Experiment whose evaluation was used.
        step: Training step of the parameters.
        rows: Rows of the grid.
    """
    placed = ({"step": step, **row} for row in rows)
    table = long_table(placed, _constants(folder, experiment), INTERCHANGE)
    write_table(folder.interchange, table)


def _constants(folder: RunFolder, experiment: Experiment) -> dict[str, Any]:
    """Columns that all rows of the results of a run share."""
    return {"run": folder.name, "split": experiment.evaluation.split} | identity(experiment)


def _standing(step: int, found: Judged) -> dict[str, Any]:
    """The part of the summary that is about one of several steps."""
    fields = ("verdict", "layer", "binding", "probabilities")
    verdict = {name: getattr(found.verdict, name) for name in fields}
    return {"step": step, "accuracy": found.accuracy["accuracy"], **verdict}


def _transitions(found: Mapping[int, Judged], confidence: float) -> list[dict[str, Any]]:
    """Changes of the verdict over the steps."""
    labels = [label(one.verdict.verdict, one.verdict.layer) for one in found.values()]
    replicates = [one.replicates for one in found.values()]
    changes = find_transitions(list(found), labels, replicates, confidence)
    return [dataclasses.asdict(change) for change in changes]
