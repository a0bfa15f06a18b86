"""The blind verdict on models that were trained to a mechanism, and how often it is right.

The verdict is not told what a model was trained to. It is ``right`` if it names that mechanism,
``abstained`` if it names none (`undecided`), ``not learned`` if the model did not come to
recall, so that there is nothing to name, and otherwise ``wrong``.
"""

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.evaluation.verdict.measurement import measure_verdict
from mecheval_jax.evaluation.verdict.rule import CLASSES
from mecheval_jax.ground_truth.collection import Trained
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.statistics.intervals import wilson

RIGHT, ABSTAINED, NOT_LEARNED, WRONG = "right", "abstained", "not learned", "wrong"
EVALUATION = EvaluationConfig(documents=192, corruptions=("key",), resamples=1000)
"""Of the verdicts: documents of the test split."""


def judge_blind(model: Trained, evaluation: EvaluationConfig = EVALUATION) -> dict[str, Any]:
    """The verdict on a model, as a row: what it was trained to, what was found, and the grade."""
    batch = model.task.sample(jax.random.key(evaluation.seed), evaluation.documents, "test")
    subject = Subject(LanguageModel(model.config), model.params, model.task, batch, evaluation)
    found = measure_verdict(subject, ())
    verdict, evidence = found.verdict, found.evidence
    assert verdict is not None  # the task has pairs
    assert evidence is not None
    return {
        "mixer": model.config.mixer,
        "trained_to": model.mechanism,
        "seed": model.seed,
        "verdict": verdict.verdict,
        "layer": verdict.layer,
        "binding": verdict.binding,
        "probability": verdict.probabilities.get(model.mechanism, 0.0),
        "accuracy": evidence.accuracy,
        "grade": grade(model.mechanism, verdict.verdict),
        "reason": verdict.reason,
    }


def grade(trained_to: str, verdict: str) -> str:
    """Whether a verdict is right, abstains, or is wrong."""
    if verdict == "not_learned":
        return NOT_LEARNED
    if verdict == "undecided":
        return ABSTAINED
    return RIGHT if verdict == trained_to else WRONG


def confusion_rows(
    rows: Sequence[Mapping[str, Any]], confidence: float = EVALUATION.confidence
) -> Iterator[dict[str, Any]]:
    """The confusion table: a row for each architecture and mechanism, and one for all.

    Columns: ``mixer``, ``trained_to``, a count for every verdict, ``learned``, and of the models
    that have learned the share whose verdict is ``right``, with Wilson's interval.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = collections.defaultdict(list)
    for row in rows:
        groups[row["mixer"], row["trained_to"]].append(row)
    for (mixer, mechanism), own in groups.items():
        yield {"mixer": mixer, "trained_to": mechanism} | _counts(own, confidence)
    if len(groups) > 1:
        yield {"mixer": "all", "trained_to": "all"} | _counts(rows, confidence)


def _counts(rows: Iterable[Mapping[str, Any]], confidence: float) -> dict[str, Any]:
    listed = list(rows)
    verdicts = collections.Counter(row["verdict"] for row in listed)
    grades = collections.Counter(row["grade"] for row in listed)
    learned = len(listed) - grades[NOT_LEARNED]
    low, high = wilson(grades[RIGHT], learned, confidence)
    return {
        **{name: verdicts[name] for name in CLASSES},
        "learned": learned,
        "right": grades[RIGHT] / learned if learned else None,
        "low": low,
        "high": high,
    }
