"""Controls: the same measurements in places where nothing should be found, beside every number.

untrained    the model before training, at every place, in units of its own gap: an attribution
             that this model has as well is a background, and no finding.
placebo      the trained model, restored at positions behind the replaced token that hold another
             document's pair (``uninvolved``), and with the same positions withheld from the input
             of each layer.
distractor   the trained model on clean documents with an uninvolved key replaced: the answer must
             not change.

A document has an uninvolved pair where another document of the batch (its donor) has the pair that
is asked. Its key is replaced by the donor's: in any task, a token of a key's class at a key's
place. The position lies before the divider (or the query), and holds no role of the question and
no token that the question is about; the new token occurs nowhere in the document. A document
without any such donor has no uninvolved pair. A donor whose pair lies behind the document's pair
is preferred: before that pair the runs do not differ, and a placebo could not fail.

A placebo or a distractor fails if its interval, of `FEWEST_DOCUMENTS` or more, lies above
`rule.SUBSTANTIAL`. What an untrained model has is shown beside the trained one's.
"""

import dataclasses
import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float, Int, PyTree, UInt32
from mecheval_jax.evaluation.config import DAMAGE
from mecheval_jax.evaluation.question import Question
from mecheval_jax.evaluation.rows import describe, place_of, with_discoveries
from mecheval_jax.evaluation.subject import Subject, new_parameters
from mecheval_jax.evaluation.verdict.evidence import FEWEST_DOCUMENTS, Evidence
from mecheval_jax.evaluation.verdict.exchanges import UNINVOLVED, Exchanges
from mecheval_jax.evaluation.verdict.rule import SUBSTANTIAL
from mecheval_jax.evaluation.verdict.verdict import Verdict
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.tasks.base import ABSENT, PAIR, Batch, asked_positions, divider_or, replace_at

EARLIER = "earlier"
"""Corruption of the pair's earlier token, in ``controls.csv``."""

DONORS_AT_ONCE = 256
"""Documents whose donors are drawn at once: each is compared with all documents."""


@flax.struct.dataclass
class Distractors:
    """An uninvolved key of each document, or of those of all members, and its replacement.

    Attributes:
        donors: Document whose asked key lies there; the document itself if there is none.
        positions: Position of the uninvolved key; `ABSENT` if there is none.
        tokens: Token that replaces it.
    """

    donors: Int[Array | np.ndarray, "*members document"]
    positions: Int[Array | np.ndarray, "*members document"]
    tokens: Int[Array | np.ndarray, "*members document"]

    def in_documents(self, batch: Batch) -> Int[Array, "batch length"]:
        """The documents after the replacement. Traceable."""
        return replace_at(batch.tokens, jnp.asarray(self.positions), jnp.asarray(self.tokens))


def draw_distractors(batch: Batch, seed: int) -> Distractors:
    """Draw distractors: for each document a random one of the documents that fit it."""
    tokens, documents = np.asarray(batch.tokens), np.arange(len(batch.tokens))
    key, value = (np.asarray(batch.roles[role])[:, 0] for role in PAIR)
    query, target = (np.asarray(of)[:, 0] for of in (batch.query_positions, batch.targets))
    asked = tokens[documents, np.maximum(np.asarray(asked_positions(batch))[:, 0], 0)]
    offered = np.where(key >= 0, tokens[documents, key], 0)
    end = divider_or(batch, batch.query_positions)[:, 0]
    roles = [np.asarray(positions)[:, 0] for positions in batch.roles.values()]
    words = 1 + max(tokens.max(), target.max())
    generator, donors, founds = np.random.default_rng(seed), [], []
    for start in range(0, len(documents), DONORS_AT_ONCE):
        own = documents[start : start + DONORS_AT_ONCE]
        # [document, donor]: whether the donor's key may replace the token at its position.
        replaced = tokens[own[:, None], np.maximum(key, 0)]
        fits = (key >= 0)[None] & (key[None] < np.minimum(end, query)[own, None])
        for positions in roles:
            fits &= positions[own, None] != key[None]
        for of_question in (asked, target):
            fits &= of_question[own, None] != replaced
        known = np.zeros((len(own), words), bool)
        known[np.arange(len(own))[:, None], tokens[own]] = True
        known[np.arange(len(own)), target[own]] = True
        fits &= ~known[:, offered]
        behind = key[None] > np.maximum(key, value)[own, None]
        chance = generator.random(fits.shape)
        donors.append(np.where(fits, chance + behind, -1.0).argmax(axis=1))
        founds.append(fits.any(axis=1))
    donor, found = np.concatenate(donors), np.concatenate(founds)
    return Distractors(
        np.where(found, donor, documents).astype(np.int32),
        np.where(found, key[donor], ABSENT).astype(np.int32),
        np.where(found, offered[donor], 0).astype(np.int32),
    )


@flax.struct.dataclass
class ControlsArrays:
    """The arrays of the controls, or those of all members of an ensemble.

    Attributes:
        batch: Evaluation documents.
        distractors: Uninvolved tokens of the documents.
        seed: Seed of the untrained model; the run's own seed gives the model before its training.
    """

    batch: Batch
    distractors: Distractors
    seed: UInt32[Array, "*members"]


def plan_controls(subject: Subject) -> tuple["ControlsMeasurement", ControlsArrays]:
    """The plan of a verdict's measurement together with its controls.

    Places, positions, corruption and directions are those of the verdict, not of the config.
    """
    evaluation = subject.evaluation
    distractors = draw_distractors(subject.batch, evaluation.seed)
    exchanges = Exchanges(subject.config, subject.task, evaluation.seed, evaluation.chunk)
    arrays = ControlsArrays(subject.batch, distractors, jnp.asarray(subject.seed, jnp.uint32))
    return ControlsMeasurement(exchanges), arrays


@dataclasses.dataclass(frozen=True)
class ControlsMeasurement:
    """The part of a verdict's measurement (`measurement`) that exchanges pairs, with its controls.

    Its `on_host` needs the accuracy and the floor as well, which the whole measurement knows.

    Attributes:
        exchanges: Measurement that is made of the trained and of the untrained model.
    """

    exchanges: Exchanges

    def on_device(self, params: PyTree, arrays: ControlsArrays) -> PyTree:
        """All computation on the device, for `on_host`. Traceable."""
        untrained = new_parameters(self.exchanges.model, arrays.seed)
        # What changes in an untrained model is little, and mostly rounding in half the bits.
        exact = dataclasses.replace(self.exchanges, model=self.exchanges.model.in_float32)
        donors = jnp.asarray(arrays.distractors.donors)
        return {
            "own": _exchange(self.exchanges, params, arrays.batch, donors),
            "untrained": _exchange(exact, untrained, arrays.batch, donors),
            "distracted": _answer(self.exchanges, params, arrays),
            "with_distractor": jnp.asarray(arrays.distractors.positions) != ABSENT,
        }

    def on_host(
        self, raw: PyTree, subject: Subject, counts: tuple[int, int], floor: float
    ) -> tuple[Evidence, list[dict[str, Any]]]:
        """The evidence of a verdict, and the rows of ``controls.csv``.

        Args:
            raw: Result of `on_device`, as arrays on the host.
            subject: Model and documents.
            counts: Number of right answers to query 0, and of all answers.
            floor: Accuracy of the best heuristic without recall.
        """
        own, new = (
            Evidence.of_raw(raw[name], subject, counts, floor) for name in ("own", "untrained")
        )
        evaluation = subject.evaluation
        bootstrap, confidence = own.bootstrap(evaluation), evaluation.confidence
        gap = own.gap("probability", bootstrap)
        # Probabilities of an untrained model hardly change. Its logits do, but as often up as down:
        # divided by the mean of that, which is about 0, its shares would be of any size.
        new_gap = dataclasses.replace(new.gap("logit", bootstrap), by_document=True)
        rows = []
        for i, cell in enumerate(own.cells):
            place = {"corruption": EARLIER, "direction": cell.direction, "role": cell.role}
            place |= place_of(cell.site) | {"metric": "attribution"}
            share = new.share(i, "logit", new_gap)
            rows.append({"control": "untrained"} | place | describe(share, confidence))
            if cell.role == UNINVOLVED:
                share = own.share(i, "probability", gap)
                rows.append({"control": "placebo"} | place | describe(share, confidence))
        # Share of the answer that the replacement of an uninvolved token takes, where there is one.
        kept = np.asarray(raw["own"]["applies"])
        distracted, replaced = (raw[name][kept] for name in ("distracted", "with_distractor"))
        place = {"corruption": UNINVOLVED, "direction": DAMAGE, "layer": None}
        place |= {"component": "tokens", "site": "tokens", "role": UNINVOLVED}
        place |= {"control": "distractor", "metric": "attribution"}
        rows.append(place | describe(gap.taken(distracted, replaced), confidence))
        return own, with_discoveries(rows)


@functools.partial(jax.jit, static_argnums=0)
def _exchange(exchanges: Exchanges, params: PyTree, batch: Batch, donors: Array) -> PyTree:
    """Measure the exchanges, compiled once for the trained and the untrained model."""
    return exchanges.on_device(params, batch, donors)


@functools.partial(jax.jit, static_argnums=0)
def _answer(
    exchanges: Exchanges, params: PyTree, arrays: ControlsArrays
) -> Float[Array, " document"]:
    """Probability of the answer to query 0 with an uninvolved token of each document replaced."""
    question = Question(LanguageModel(exchanges.model), params, arrays.batch)
    distracted = arrays.distractors.in_documents(arrays.batch)[:, : exchanges.task.read_length]
    return question.answers(question.run(distracted))["probability"]


def with_controls(verdict: Verdict, rows: list[dict[str, Any]]) -> Verdict:
    """A verdict whose evidence has the controls beside its numbers.

    Every attribution gets the value of the ``untrained`` model at that place, and of the
    ``placebo`` at its site (the uninvolved token); the evidence gets the ``distractor``, and the
    names of the controls that ``failed``.
    """
    found = {(row["control"], row["site"], row["direction"], row["role"]): row for row in rows}

    def value(*place: str) -> float | None:
        return found[place]["value"] if place in found else None

    attributions = []
    for entry in verdict.evidence["attributions"]:
        place = entry["site"], entry["direction"]
        untrained = value("untrained", *place, entry["role"])
        placebo = value("placebo", *place, UNINVOLVED)
        attributions.append({**entry, "untrained": untrained, "placebo": placebo})
    distractor = found["distractor", "tokens", DAMAGE, UNINVOLVED]
    numbers = {name: distractor[name] for name in ("value", "low", "high", "documents")}
    failed = [
        f"{row['control']} at {row['site']}"
        for row in rows
        if row["control"] != "untrained"
        and row["documents"] >= FEWEST_DOCUMENTS
        and (row["low"] or 0) > SUBSTANTIAL
    ]
    evidence = {"attributions": attributions, "distractor": numbers, "failed": failed}
    return dataclasses.replace(verdict, evidence=verdict.evidence | evidence)
