"""The blind verdict on models that were trained to a mechanism, and how often it is right.

The verdict is not told what a model was trained to. It is ``right`` if it names that mechanism,
``abstained`` if it names none (`undecided`), and otherwise ``wrong``. There is nothing to grade if
the model did not come to recall (``not learned``), or does so and breaks a rule of the mechanism on
unseen documents (``not reached``): then nobody knows what its mechanism is.
"""

import collections
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mecheval_jax.array_types import PyTree
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.question import corruption_key
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.evaluation.verdict import rule
from mecheval_jax.evaluation.verdict.measurement import measure_verdict
from mecheval_jax.ground_truth.collection import Trained
from mecheval_jax.ground_truth.training import rules_kept
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.statistics.intervals import wilson

RIGHT, ABSTAINED, WRONG = "right", "abstained", "wrong"
NOT_LEARNED, NOT_REACHED = "not learned", "not reached"
UNKNOWN = (NOT_LEARNED, NOT_REACHED)
"""Grades of models whose mechanism is not known."""

REACHED = 0.9
"""Interchange accuracy that each rule of a mechanism must have."""

EVALUATION = EvaluationConfig(documents=192, corruptions=("key",), resamples=1000)
"""Evaluation of the models that are judged, on documents of the test split."""


# One program for all models of a shape that were trained to one mechanism.
_rules_kept = jax.jit(rules_kept, static_argnums=(0, 1, 2))


def judge_blind(model: Trained, evaluation: EvaluationConfig = EVALUATION) -> dict[str, Any]:
    """The verdict on a model, as a row: what it was trained to, what was found, and the grade."""
    batch = model.task.sample(jax.random.key(evaluation.seed), evaluation.documents, "test")
    subject = Subject(LanguageModel(model.config), model.params, model.task, batch, evaluation)
    found = measure_verdict(subject, ())
    verdict, evidence = found.verdict, found.evidence
    assert verdict is not None  # the task has pairs
    assert evidence is not None
    key = corruption_key(evaluation.seed)
    rules = _rules_kept(model.config, model.task, model.mechanism, model.params, batch, key)
    kept = float(rules.min())
    return {
        "mixer": model.config.mixer,
        "trained_to": model.mechanism,
        "seed": model.seed,
        "verdict": verdict.verdict,
        "layer": verdict.layer,
        "binding": verdict.binding,
        "probability": verdict.probabilities.get(model.mechanism, 0.0),
        "accuracy": evidence.accuracy,
        "rules_kept": kept,
        "grade": grade(model.mechanism, verdict.verdict, kept),
        "reason": verdict.reason,
        "weights": _hash_of(model.params),
    }


def _hash_of(params: PyTree) -> str:
    """Hash of the parameters as a collection keeps them, by which it has the same model."""
    kept = [np.asarray(leaf, np.float16).tobytes() for leaf in jax.tree.leaves(params)]
    return hashlib.sha256(b"".join(kept)).hexdigest()[:16]


def grade(trained_to: str, verdict: str, kept: float) -> str:
    """Whether a verdict is right, abstains, or is wrong.

    Args:
        trained_to: Mechanism to which the model was trained.
        verdict: Verdict on it.
        kept: Least interchange accuracy of that mechanism's rules.
    """
    if verdict == rule.NOT_LEARNED:
        return NOT_LEARNED
    if round(kept, 6) < REACHED:  # nine of ten are a little less than 0.9 in float32
        return NOT_REACHED
    if verdict == rule.UNDECIDED:
        return ABSTAINED
    return RIGHT if verdict == trained_to else WRONG


def confusion_rows(
    rows: Sequence[Mapping[str, Any]], confidence: float = EVALUATION.confidence
) -> Iterator[dict[str, Any]]:
    """The confusion table: a row for each architecture and mechanism, and one for all.

    Columns: ``mixer``, ``trained_to``, a count for every verdict on models that reached the
    mechanism, how many have ``learned`` to recall and ``reached`` it, and of the latter the share
    whose verdict is ``right``, with Wilson's interval.
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
    known = [row for row in listed if row["grade"] not in UNKNOWN]
    verdicts = collections.Counter(row["verdict"] for row in known)
    grades = collections.Counter(row["grade"] for row in listed)
    low, high = wilson(grades[RIGHT], len(known), confidence)
    return {
        **{name: verdicts[name] for name in rule.CLASSES},
        "models": len(listed),
        "learned": len(listed) - grades[NOT_LEARNED],
        "reached": len(known),
        "right": grades[RIGHT] / len(known) if known else None,
        "low": low,
        "high": high,
    }
