"""Reading, editing and erasing one association in the state of a trained recurrence.

The pair of question 0 is edited at the place where removing its write costs the answer most
(`memory.removal`). Right before the question the state S of that layer is replaced:

    edited    by the state in which the pair's token has the value of another pair, the donor's
    erased    by the state in which it has the value 0

The key under which a pair lies in S is not the one with which it was written: decays by channel and
the reflections of delta rules have changed it since. What erasing takes from S, an outer product
k u^T in most mixers, gives k and u no more than up to a factor of either sign in every head. The
key is therefore found in what the pair would leave in S with a value of ones, which is the same for
all pairs; *reading* compares S^T k with the u of each pair.

After each operation every pair is asked. *Locality* is the effect on the others: what is changed of
S is what the one pair has left there, which other keys feel by their cosine with k.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.memory.closed_form import closed_form_error
from mecheval_jax.evaluation.memory.questions import asked_pairs, asking
from mecheval_jax.evaluation.memory.removal import MemoryPlace, find_memory, memories
from mecheval_jax.evaluation.memory.surgery import Surgery, not_editable, written_values
from mecheval_jax.evaluation.question import Question
from mecheval_jax.evaluation.rows import describe
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.interventions.capture import capture
from mecheval_jax.statistics.bootstrap import Bootstrap, Estimate, accuracy_interval
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.geometry import Geometry, geometry
from mecheval_jax.tasks.scoring import score

PAIRS = 4
"""Number of questions to a document: the edited pair, the donor, and others."""

LEAST = 3
"""The same where pairs are held behind their later token: there the last pair of a document has the
question, and documents of `PAIRS` pairs count if they do not ask for it."""

DOCUMENTS = 128
"""Greatest number of documents, since each has a state at every token."""

CHANGE = (-1.0, 1.0)
"""Where changes of accuracies lie."""

PARTS = 3
"""Number of parts into which other pairs are sorted, by the cosine of their key with k."""

WRITTEN = ("write",)
"""Sites in a mixer at which pairs are removed: of those, states alone can be edited."""

OPERATIONS = ("none", "edit", "erase")
QUESTIONS = {"edited": slice(0, 1), "donor": slice(1, 2), "others": slice(2, None)}
"""The questions of a document about each kind of pair."""


def factors_of(
    matrix: Float[Array, "documents *heads key value"],
    of_ones: Float[Array, "documents *heads key value"] | None = None,
) -> tuple[Float[Array, "documents *heads key"], Float[Array, "documents *heads value"]]:
    """Key and value whose outer product is a matrix.

    Args:
        matrix: Outer products.
        of_ones: Those of the same keys with values of 1, whose longest column is the key. Without
            them it is that of `matrix`: key and value are then known up to a factor in each head,
            which may be negative.
    """
    by_key = matrix if of_ones is None else of_ones
    longest = jnp.square(by_key).sum(axis=-2, keepdims=True).argmax(axis=-1, keepdims=True)
    key = jnp.take_along_axis(by_key, longest, axis=-1)[..., 0]
    square = jnp.square(key).sum(axis=-1, keepdims=True)
    value = jnp.einsum("...kv,...k->...v", matrix, key)
    return key, jnp.where(square > 0, value / jnp.where(square > 0, square, 1), 0)


def check_editing(subject: Subject) -> None:
    """Check that documents have pairs enough, and some layer a state that can be edited.

    Raises:
        UserError: If they have not, or no layer has.
    """
    editable(subject)
    asked_pairs(subject, PAIRS, DOCUMENTS)


def editable(subject: Subject) -> tuple[str, ...]:
    """Paths of the writes into states that are sites, with their values beside them.

    Raises:
        UserError: If no layer has one.
    """
    paths = site_paths(subject.config)
    found = tuple(path for path in memories(subject, WRITTEN) if written_values(path, paths))
    if not found:
        raise not_editable(subject.config.mixer)
    return found


def editing_rows(subject: Subject) -> Iterator[dict[str, Any]]:
    """The effect of each operation on the answers; gives the long table.

    Columns: ``operation`` (of `OPERATIONS`), ``question`` (of `QUESTIONS`), ``metric``:
    ``accuracy`` (of the document's answer), ``new_answer`` (share that answers the donor's value),
    ``change`` (of the accuracy, document by document), ``interference`` (the same of others, by the
    ``cosine`` of their keys with the edited one's, from far to near), ``read`` (share in which the
    value in the state is nearest to the pair's own), ``closed_form_error`` (`memory.closed_form`);
    and where.

    Raises:
        UserError: If no layer has a state that is written, documents ask fewer pairs, or each has a
            pair with no token at the place.
    """
    batch = asked_pairs(subject, PAIRS, DOCUMENTS)
    removed, _ = find_memory(subject, asking(batch, 0), editable(subject))
    place = removed.places[removed.best]
    found = jax.device_get(edit(subject, batch, place, PAIRS))
    if not found["present"].any():
        batch = asked_pairs(subject, LEAST, PAIRS * DOCUMENTS)
        found = jax.device_get(edit(subject, batch, place, LEAST))
    right, present = found["right"], found["present"]
    if not present.any():
        raise UserError(
            f"the model holds pairs {place.offset} tokens behind their later one, where one of "
            f"{LEAST} pairs always has the question; documents with more pairs can be edited there"
        )
    evaluation = subject.evaluation
    bootstrap = Bootstrap([len(present)], evaluation.resamples, evaluation.seed)

    def described(change: Estimate) -> dict[str, Any]:
        return describe(change, evaluation.confidence, tested=False, within=CHANGE)

    def row(
        operation: str, question: str, metric: str, found: dict[str, Any], cosine: Any = None
    ) -> dict[str, Any]:
        named = {"operation": operation, "question": question, "metric": metric, "cosine": cosine}
        return named | place.cells() | found

    def share(operation: str, question: str, metric: str, counts: np.ndarray, of: int = 1) -> dict:
        # Counts of `of` answers; where all or none are right, replicates have no width.
        right, asked = np.where(present, counts, 0), np.where(present, of, 0)
        ends = accuracy_interval(right, asked, evaluation.confidence, bootstrap)[0]
        low_and_high = dict(zip(("low", "high"), ends, strict=True))
        mean = described(bootstrap.mean(counts / of, present))
        return row(operation, question, metric, mean | low_and_high)

    # What every kind of question is answered after each operation.
    for name, chosen in QUESTIONS.items():
        before, of = right[0, chosen].sum(axis=0), right[0, chosen].shape[0]
        for operation, counts in zip(OPERATIONS, right[:, chosen].sum(axis=1), strict=True):
            yield share(operation, name, "accuracy", counts, of)
            if operation != "none":
                change = bootstrap.mean((counts - before) / of, present)
                yield row(operation, name, "change", described(change))
    # What the others feel, by the similarity of their keys.
    for operation, changed in zip(OPERATIONS[1:], right[1:] - right[0], strict=True):
        for cosine, change in _by_cosine(found["cosine"], changed, present, bootstrap):
            yield row(operation, "others", "interference", described(change), cosine)
    # Whether the state was read and changed as it should be.
    for operation, new in zip(OPERATIONS, found["new"], strict=True):
        yield share(operation, "edited", "new_answer", new)
    yield share("none", "edited", "read", found["read"])
    compared = closed_form_error(subject, asking(batch, 0), place)
    if compared is not None:
        error, documents = compared
        known = {"value": error, "low": None, "high": None, "p_value": None}
        yield row("none", "edited", "closed_form_error", known | {"documents": documents})


def edit(subject: Subject, batch: Batch, place: MemoryPlace, pairs: int) -> dict[str, Array]:
    """Answers to every question under every operation.

    Args:
        subject: Model and task.
        batch: Documents with questions for several pairs, from `asked_pairs`.
        place: Place at which the model holds pairs.
        pairs: Number of questions that are asked.

    Returns:
        ``right`` [operations, questions, documents]; ``cosine`` [questions, documents], of each key
        with the edited one's; ``new`` [operations, documents], whether the
        edited pair's question is answered by the donor's value; ``read`` [documents]; ``present``
        [documents], those in which every pair has a token at the place.
    """
    asked = [asking(batch, number) for number in range(pairs)]
    places = [geometry(subject.task, each) for each in asked]
    written = jnp.stack([found.position(place.offset) for found in places])

    # Documents are arguments: as constants XLA would compute on them as it compiles.
    @jax.jit
    def everything(
        params: PyTree, asked: list[Batch], found: Geometry, written: Array
    ) -> dict[str, Array]:
        activations = capture(subject.model, params, asked[0])
        surgery = Surgery(subject.model, params, asked[0], place, found, activations)
        # The states without each pair, and that in which one pair has another's value.
        without = [surgery.state_without(at) for at in written]
        edited = surgery.state_with(surgery.values_at(written[1]), written[0])
        interventions = ({}, surgery.leading_to(edited), surgery.leading_to(without[0]))

        def scores(each: Batch, wanted: Batch, changed: dict) -> Array:
            logits = Question(subject.model, params, each).run(each.tokens, changed)
            return score(logits, wanted).correct[:, 0]

        # What the state answers to the pair's key, and how near the keys are to one another.
        ones = jnp.ones_like(surgery.values_at(written[0]))
        of_ones = [surgery.state_with(ones, at) for at in written]
        held = [
            factors_of(surgery.state() - state, alike - state)
            for state, alike in zip(without, of_ones, strict=True)
        ]
        answer = jnp.einsum("...kv,...k->...v", surgery.state(), held[0][0])
        read = jnp.stack([_cosine(answer, value) for _, value in held])
        near = jnp.stack([_cosine(held[0][0], key) for key, _ in held])
        right = [[scores(each, each, changed) for each in asked] for changed in interventions]
        new = [scores(asked[0], asked[1], changed) for changed in interventions]
        return {
            "right": jnp.stack([jnp.stack(each) for each in right]),
            "new": jnp.stack(new),
            # Where nothing is held all cosines are 0, and none is nearest.
            "read": (read[0] > read[1:].max(axis=0)).astype(jnp.float32),
            "cosine": near,
            "present": (written >= 0).all(axis=0),
        }

    return everything(subject.params, asked, places[0], written)


def _by_cosine(
    cosine: np.ndarray, changed: np.ndarray, present: np.ndarray, bootstrap: Bootstrap
) -> Iterator[tuple[float, Estimate]]:
    """Change of the other pairs' accuracy, from keys far from the edited one to keys near it.

    Args:
        cosine: [questions, documents] Cosine of each key with the edited one's.
        changed: [questions, documents] Change of correctness.
        present: [documents] Documents that count.
        bootstrap: Resamples of the documents.

    Yields:
        Mean cosine of each of `PARTS` equal parts, and the change of its accuracy.
    """
    cosine, changed = (each[QUESTIONS["others"]] for each in (cosine, changed))
    if not present.any():
        return
    ends = np.quantile(cosine[:, present], np.arange(1, PARTS) / PARTS)
    part = np.searchsorted(ends, cosine, side="right")
    for number in range(PARTS):
        inside = (part == number) & present
        if inside.any():
            change = bootstrap.ratio((changed * inside).sum(0), inside.sum(0), present)
            yield float(cosine[inside].mean()), change


def _cosine(
    first: Float[Array, "documents ..."], second: Float[Array, "documents ..."]
) -> Float[Array, " documents"]:
    """Cosine of two vectors of every document, over all their heads."""
    first, second = (each.reshape(len(each), -1) for each in (first, second))
    lengths = jnp.linalg.norm(first, axis=1) * jnp.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / jnp.maximum(lengths, jnp.finfo(first.dtype).tiny)
