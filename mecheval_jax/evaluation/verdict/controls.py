"""Controls: the same measurements where nothing should be found, shown beside every number.

untrained    the model as it was before training, at every place that the verdict reads.
placebo      the trained model, restored at positions that have no part in the question: the
             first token (role ``bos``, before anything was corrupted), and a token of the document
             that the question is not about (``uninvolved``). And restored at a site that has no
             part in the answer: the last layer's output at the roles before the query.
distractor   the trained model's clean documents with that uninvolved token replaced: the
             answer's probability must not move.

The uninvolved token of a document and what replaces it are the asked key of another document of
the batch, at its own position there: a token of a key's class at a key's place, whatever the task.
The position lies before the divider (or the query), holds no role of the question and no token
that the question is about; what comes in occurs nowhere in the document. A document for which no
other one fits has none.

All controls are in units of the run's own gap p(o) - p(c): an untrained model changes its answer
hardly at all, and its own gap is nothing to divide by.
"""

import dataclasses
import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float, Int, PyTree, UInt32
from mecheval_jax.evaluation.patching.effects import Effects, effects
from mecheval_jax.evaluation.patching.grid import Grid, GridMeasurement, plan_grid
from mecheval_jax.evaluation.question import Question
from mecheval_jax.evaluation.rows import describe, place_of, with_discoveries
from mecheval_jax.evaluation.subject import Subject, new_parameters
from mecheval_jax.evaluation.verdict.evidence import CORRUPTION, roles_of_verdict, verdict_sites
from mecheval_jax.evaluation.verdict.verdict import Verdict
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.site_path import SitePath
from mecheval_jax.tasks.base import ABSENT, Batch, replace_at

UNINVOLVED = "uninvolved"
PLACEBOS = ("bos", UNINVOLVED)


@flax.struct.dataclass
class Distractors:
    """An uninvolved token of each document, or of those of all members, and another one for it.

    Attributes:
        positions: Its position, `ABSENT` where there is none.
        tokens: Token that replaces it.
    """

    positions: Int[Array | np.ndarray, "*members document"]
    tokens: Int[Array | np.ndarray, "*members document"]

    def in_documents(self, batch: Batch) -> Int[Array, "batch length"]:
        """The documents with the replacement made. Traceable."""
        return replace_at(batch.tokens, jnp.asarray(self.positions), jnp.asarray(self.tokens))

    def as_role(self, batch: Batch) -> Batch:
        """The documents with one more role, `UNINVOLVED`, the same for all queries. Traceable."""
        shape = batch.query_positions.shape
        positions = jnp.broadcast_to(jnp.asarray(self.positions)[:, None], shape)
        return batch.replace(roles={**batch.roles, UNINVOLVED: positions})


def draw_distractors(batch: Batch, seed: int) -> Distractors:
    """Choose them: for each document, one of the documents that fit it, at random."""
    tokens = np.asarray(batch.tokens)
    documents, rows = np.arange(len(tokens)), np.arange(len(tokens))[:, None]
    key = np.asarray(batch.roles["key"])[:, 0]
    query = np.asarray(batch.query_positions)[:, 0]
    offered = np.where(key >= 0, tokens[documents, key], -1)
    # [document, donor]: the token that would go, at the donor's key's position.
    replaced = tokens[rows, np.broadcast_to(np.maximum(key, 0), (len(tokens),) * 2)]
    end = np.asarray(batch.roles["divider"])[:, 0] if "divider" in batch.roles else query
    roles = np.stack([np.asarray(positions)[:, 0] for positions in batch.roles.values()], axis=1)
    question = np.stack([tokens[documents, query], np.asarray(batch.targets)[:, 0]], axis=1)
    fits = (key >= 0)[None] & (key[None] < np.minimum(end, query)[:, None])
    fits &= ~(roles[:, None, :] == key[None, :, None]).any(axis=-1)
    fits &= ~(question[:, None, :] == replaced[:, :, None]).any(axis=-1)
    known = [
        np.isin(offered, np.append(row, target))
        for row, target in zip(tokens, question[:, 1], strict=True)
    ]
    fits &= ~np.stack(known)
    chance = np.where(fits, np.random.default_rng(seed).random(fits.shape), -1.0)
    donor = chance.argmax(axis=1)
    found = fits.any(axis=1)
    return Distractors(
        np.where(found, key[donor], ABSENT).astype(np.int32),
        np.where(found, offered[donor], 0).astype(np.int32),
    )


@flax.struct.dataclass
class ControlsArrays:
    """The arrays of what a verdict reads, or of those of all members of an ensemble.

    Attributes:
        batch: Evaluation documents.
        distractors: Uninvolved tokens of the documents.
        seed: Seed of the untrained model; the run's own gives what it was before training.
    """

    batch: Batch
    distractors: Distractors
    seed: UInt32[Array, "*members"]


def plan_controls(subject: Subject) -> tuple["ControlsMeasurement", ControlsArrays]:
    """What a verdict reads, and the controls beside it, as a measurement yet to be made.

    Sites, roles, corruption and direction are those of the verdict, whatever else is asked for.
    """
    batch = subject.batch
    distractors = draw_distractors(batch, subject.evaluation.seed)
    extended = distractors.as_role(batch)
    read = roles_of_verdict(batch)
    placebos = tuple(role for role in PLACEBOS if role in extended.roles)
    evaluation = dataclasses.replace(
        subject.evaluation,
        roles=(*read, *placebos),
        corruptions=(CORRUPTION,),
        directions=("restore",),
    )
    reduced = dataclasses.replace(subject, batch=extended, evaluation=evaluation)
    read_grid, _ = plan_grid(reduced, verdict_sites(subject.config))
    arrays = ControlsArrays(batch, distractors, jnp.asarray(subject.seed, jnp.uint32))
    return ControlsMeasurement(read_grid, read, placebos), arrays


@dataclasses.dataclass(frozen=True)
class ControlsMeasurement:
    """What a verdict reads and its controls; see `evaluation.subject.Measurement`.

    Attributes:
        grid: Grid of the verdict's sites.
        read: Roles that a verdict reads.
        placebos: Roles that have no part in the question.
    """

    grid: GridMeasurement
    read: tuple[str, ...]
    placebos: tuple[str, ...]

    def on_device(self, params: PyTree, arrays: ControlsArrays) -> PyTree:
        """All that the device has to do, for `on_host`. Traceable."""
        extended = arrays.distractors.as_role(arrays.batch)
        untrained = new_parameters(self.grid.model, arrays.seed)
        return {
            "own": self.grid.on_device(params, extended),
            "untrained": self.grid.on_device(untrained, extended),
            "distracted": _answer(self.grid, params, arrays),
        }

    def on_host(self, raw: PyTree, subject: Subject) -> tuple[Grid, list[dict[str, Any]]]:
        """The grid that the verdict reads, and the rows of ``controls.csv``."""
        evaluation = self.grid.evaluation
        reduced = dataclasses.replace(subject, evaluation=evaluation)
        own, other = (self.grid.on_host(raw[name], reduced) for name in ("own", "untrained"))
        measured, new = effects(own), effects(other)
        gap, sites, roles = measured.gap(CORRUPTION), self.grid.sites, evaluation.roles

        def row(control: str, changes: np.ndarray, role: str, **place: Any) -> dict[str, Any]:
            estimate = gap.share(changes, own.present[roles.index(role)])
            place |= {"role": role, "metric": "attribution"}
            return {"control": control, **place} | describe(estimate, evaluation.confidence)

        def restored(control: str, of: Effects, site: str, role: str) -> dict[str, Any]:
            """Clean activations of a model put into its corrupted run, at one site and role."""
            changes = of.changes[site][0, 0, roles.index(role)]
            case = {"corruption": CORRUPTION, "direction": "restore"}
            return row(control, changes, role, **case, **place_of(site))

        rows = [
            restored("untrained", new, site, role)
            for site in sites
            for role in self.read
            if role == "query" or SitePath.parse(site).component != "block_output"
        ]
        rows += [restored("placebo", measured, s, role) for s in sites for role in self.placebos]
        last = SitePath(self.grid.model.layers - 1, "block_output").path
        rows += [restored("placebo", measured, last, role) for role in self.read if role != "query"]
        # What the replacement of an uninvolved token takes from the answer.
        place = {"corruption": UNINVOLVED, "direction": "damage", "layer": None}
        place |= {"component": "tokens", "site": "tokens"}
        rows.append(row("distractor", gap.clean - raw["distracted"], UNINVOLVED, **place))
        return own, with_discoveries(rows)


@functools.partial(jax.jit, static_argnums=0)
def _answer(
    grid: GridMeasurement, params: PyTree, arrays: ControlsArrays
) -> Float[Array, " document"]:
    """Probability of the answer to query 0 with an uninvolved token of each document replaced."""
    question = Question(LanguageModel(grid.model), params, arrays.batch)
    distracted = arrays.distractors.in_documents(arrays.batch)[:, : grid.task.read_length]
    return question.answers(question.run(distracted))["probability"]


def with_controls(verdict: Verdict, rows: list[dict[str, Any]]) -> Verdict:
    """A verdict whose evidence has the controls beside its numbers.

    Every attribution gets what the ``untrained`` model has at that place, and the ``placebo`` at
    its site (the uninvolved token); the evidence gets the ``distractor``.
    """
    found = {(row["control"], row["site"], row["role"]): row for row in rows}

    def value(*place: str) -> float | None:
        return found[place]["value"] if place in found else None

    attributions = [
        entry
        | {
            "untrained": value("untrained", entry["site"], entry["role"]),
            "placebo": value("placebo", entry["site"], UNINVOLVED),
        }
        for entry in verdict.evidence["attributions"]
    ]
    distractor = found["distractor", "tokens", UNINVOLVED]
    numbers = {name: distractor[name] for name in ("value", "low", "high", "documents")}
    evidence = verdict.evidence | {"attributions": attributions, "distractor": numbers}
    return dataclasses.replace(verdict, evidence=evidence)
