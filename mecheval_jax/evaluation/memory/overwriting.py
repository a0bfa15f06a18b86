"""Erased or outweighed: the remains of a pair whose key was bound again.

Documents are those of forgetting recall: the asked key is bound twice, and the last value counts.
At the place where the model holds the new pair (`memory.removal`) the new pair, the old one, or
both are removed. With o the reading of that layer at the query, before its output norm,

    uncovered = |o(without new) - o(without both)| / |o(clean) - o(without new)|

is the contribution of the old pair without the new one, as a share of that of the new one: 1 if the
old pair was only outweighed, 0 if it is gone. In attention the weights of the other tokens then sum
to 1 again, so that an old pair which still matches is read in full.

``recovered`` is the same for the answer: the probability that the old value gains without the new
pair, divided by the loss of the new value. A norm behind the reading can enlarge a small
remainder, so that an erased pair may be recovered all the same. ``trace`` is about the answer
without removal: the logit that the old value loses when its token is replaced, divided by the loss
of the new value with its own token. None of the three is known (NaN) of a model that surely loses
nothing with the new pair.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.memory.removal import MemoryPlace, find_memory, memories
from mecheval_jax.evaluation.patching.effects import SMALLEST_GAP, Gap
from mecheval_jax.evaluation.question import Question, corruption_key
from mecheval_jax.evaluation.rows import SHARE, SIZE, describe
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.capture import Interventions, observe
from mecheval_jax.interventions.patch import compose
from mecheval_jax.statistics.bootstrap import Bootstrap, Estimate
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.geometry import Geometry
from mecheval_jax.tasks.scoring import score

OLD = "old_value"
"""Role of the value that a later one replaced."""

CONDITIONS = ("clean", "without_new", "without_old", "without_both")

ERASED, OUTWEIGHED, PARTLY, UNDECIDED = "erased", "outweighed", "partly", "undecided"
RANGES = {"new_probability": SHARE, "old_probability": SHARE, "uncovered": SIZE}
"""Where the numbers of a metric lie; others may have any sign."""

LITTLE, MOST = 0.2, 0.5
"""Share below which the old pair is erased, and share above which it is outweighed."""


def reading_of(estimate: Estimate, confidence: float) -> str:
    """The reading of the share ``uncovered`` in a word, if its interval lies on one side."""
    low, high = estimate.interval(confidence)
    if np.isnan(low):
        return UNDECIDED
    if high < LITTLE:
        return ERASED
    if low > MOST:
        return OUTWEIGHED
    return PARTLY if low >= LITTLE and high <= MOST else UNDECIDED


def overwriting_rows(subject: Subject) -> Iterator[dict[str, Any]]:
    """Probabilities of both values in every condition, and the three shares; gives the long table.

    Columns: ``metric`` (``new_probability``, ``old_probability``; ``uncovered`` with its
    ``reading``, ``recovered``, ``trace``), ``condition`` of the probabilities, and where.

    Raises:
        UserError: If documents have no old value, or the model has no memory to remove pairs from.
    """
    check_overwriting(subject)
    batch, evaluation = subject.batch, subject.evaluation
    found, where = find_memory(subject, batch, together=True)
    place = found.places[found.best]
    runs = jax.device_get(_without(subject, batch, place, where))
    present = runs.pop("present")
    bootstrap = Bootstrap([len(present)], evaluation.resamples, evaluation.seed)

    def row(metric: str, estimate: Estimate, **cells: Any) -> dict[str, Any]:
        within = RANGES.get(metric)
        described = describe(estimate, evaluation.confidence, tested=False, within=within)
        named = {"metric": metric, "condition": None} | place.cells()
        return named | described | {"reading": None} | cells

    for condition, run in runs.items():
        for name in ("new_probability", "old_probability"):
            yield row(name, bootstrap.mean(run[name], present), condition=condition)
    clean, new, both = (runs[name] for name in ("clean", "without_new", "without_both"))
    lost = Gap(clean["new_probability"], new["new_probability"], bootstrap)
    uncovered = recovered = Estimate.unknown(evaluation.resamples, int(present.sum()))
    # A model that does not answer from the place has contributions there as well, of any sizes.
    if _is_lost(lost, present, evaluation.confidence):
        change = (_length(new["read"] - both["read"]), _length(clean["read"] - new["read"]))
        uncovered = bootstrap.ratio(*change, present)
        recovered = lost.share(new["old_probability"] - both["old_probability"], present)
    yield row("uncovered", uncovered, reading=reading_of(uncovered, evaluation.confidence))
    yield row("recovered", recovered)
    yield row("trace", _trace(subject, batch, bootstrap)) | dict.fromkeys(place.cells())


def _is_lost(lost: Gap, present: np.ndarray, confidence: float) -> bool:
    """Whether the answer is surely lost, so that there are shares of the loss."""
    return lost.mean(present).interval(confidence)[0] > SMALLEST_GAP


def check_overwriting(subject: Subject) -> None:
    """Check that documents have an overwritten pair, and the model a memory.

    Raises:
        UserError: If they have no old value, or there is nothing to remove pairs from.
    """
    if OLD not in subject.task.role_names:
        raise UserError(
            f"no overwritten pair to look for: the task has no role {OLD!r}; forgetting_recall has"
        )
    memories(subject)


def _length(change: np.ndarray) -> np.ndarray:
    """Norm of the change of a reading over all heads, for each document."""
    return np.linalg.norm(change.reshape(len(change), -1), axis=1)


def _without(
    subject: Subject, batch: Batch, place: MemoryPlace, where: Geometry
) -> dict[str, dict[str, Array] | Array]:
    """Readings and answers in every condition; and ``present``, documents with both pairs."""
    new = place.positions(where)
    old = batch.roles[OLD][:, :1] + place.offset + jnp.arange(place.tokens)[None]
    # A document does not count if the new pair follows so closely that the old one's tokens reach
    # into it.
    old = jnp.where(old[:, -1:] < batch.roles["key"][:, :1], old, -1)

    # Documents are arguments: as constants XLA would compute on them as it compiles.
    @jax.jit
    def everything(
        params: PyTree, batch: Batch, asked_old: Batch, where: Geometry, new: Array, old: Array
    ) -> dict[str, dict[str, Array] | Array]:
        query, documents = batch.query_positions[:, :1], jnp.arange(len(old))

        def run(changed: Interventions) -> tuple[dict[str, Array], dict[str, Array]]:
            logits, activations = observe(subject.model, params, batch.tokens, changed, query)
            return {
                "read": activations[place.output(activations)][documents, query[:, 0]],
                "new_probability": score(logits, batch).probability[:, 0],
                "old_probability": score(logits, asked_old).probability[:, 0],
            }, activations

        clean, activations = run({})
        without = [place.removal(activations, at, where.question) for at in (new, old)]
        without.append(compose(*without))
        runs = [clean, *(run(each)[0] for each in without)]
        return dict(zip(CONDITIONS, runs, strict=True)) | {
            "present": place.present(where) & (old >= 0)[:, 0]
        }

    return everything(subject.params, batch, _asking_old(batch), where, new, old)


def _asking_old(batch: Batch) -> Batch:
    """The same documents, with the old value as the answer to query 0."""
    old = jnp.take_along_axis(batch.tokens, jnp.maximum(batch.roles[OLD][:, :1], 0), axis=1)
    return batch.replace(targets=batch.targets.at[:, :1].set(old))


def _trace(subject: Subject, batch: Batch, bootstrap: Bootstrap) -> Estimate:
    """Logit that the old value loses with its token, divided by the loss of the new one."""
    key = corruption_key(subject.evaluation.seed)

    @jax.jit
    def logits(params: PyTree, batch: Batch, old: Batch) -> dict[str, tuple[Array, Array]]:
        question = Question(subject.model, params, batch)
        clean = question.run(batch.tokens)

        def with_and_without(role: str, wanted: Batch) -> tuple[Array, Array]:
            changed = question.run(subject.task.corrupt(key, batch, role))
            return score(clean, wanted).logit[:, 0], score(changed, wanted).logit[:, 0]

        return {OLD: with_and_without(OLD, old), "value": with_and_without("value", batch)}

    found = jax.device_get(logits(subject.params, batch, _asking_old(batch)))
    present = np.asarray(batch.roles[OLD][:, 0] >= 0)
    old, new = (Gap(*found[role], bootstrap) for role in (OLD, "value"))
    if not _is_lost(new, present, subject.evaluation.confidence):
        return Estimate.unknown(bootstrap.resamples, int(present.sum()))
    return new.share(old.sizes, present)
