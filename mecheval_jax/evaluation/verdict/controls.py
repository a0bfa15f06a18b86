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

from mecheval_jax.array_types import Array, Int, PyTree
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.attribution import (
    attribution,
    describe,
    place_of,
    with_discoveries,
)
from mecheval_jax.evaluation.patching.grid import (
    CLEAN,
    Grid,
    compile_grid,
    grid_of,
    role_positions,
)
from mecheval_jax.evaluation.verdict.evidence import CORRUPTION, roles_of_verdict, verdict_sites
from mecheval_jax.evaluation.verdict.verdict import Verdict
from mecheval_jax.interventions.capture import run
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.site_path import SitePath
from mecheval_jax.statistics.bootstrap import Bootstrap
from mecheval_jax.tasks.base import ABSENT, Batch, Task, replace_at
from mecheval_jax.tasks.scoring import score

UNINVOLVED = "uninvolved"
PLACEBOS = ("bos", UNINVOLVED)


@dataclasses.dataclass(frozen=True)
class Distractors:
    """An uninvolved token of each document, and another one for it.

    Attributes:
        positions: [document], `ABSENT` where there is none.
        tokens: [document] what replaces it.
    """

    positions: np.ndarray
    tokens: np.ndarray

    def in_documents(self, batch: Batch) -> Int[Array, "batch length"]:
        """The documents with the replacement made."""
        return replace_at(batch.tokens, jnp.asarray(self.positions), jnp.asarray(self.tokens))


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


def with_role(batch: Batch, name: str, positions: np.ndarray) -> Batch:
    """A batch with one more role, the same for all its queries."""
    shape = batch.query_positions.shape
    added = jnp.broadcast_to(jnp.asarray(positions)[:, None], shape)
    return batch.replace(roles={**batch.roles, name: added})


@dataclasses.dataclass(frozen=True)
class Controlled:
    """What a verdict reads and its controls: a measurement yet to be made.

    Sites, roles, corruption and direction are those of the verdict, whatever else is asked for.

    Attributes:
        model: shape of the model.
        task: which can corrupt its documents' keys.
        evaluation: with the verdict's roles, corruption and direction.
        read: the roles that a verdict reads.
        placebos: those that have no part in the question.
    """

    model: ModelConfig
    task: Task
    evaluation: EvaluationConfig
    read: tuple[str, ...]
    placebos: tuple[str, ...]

    @classmethod
    def of(
        cls, model: ModelConfig, task: Task, batch: Batch, evaluation: EvaluationConfig
    ) -> tuple["Controlled", "Material"]:
        """The measurement on a batch, and the arrays that it takes."""
        distractors = draw_distractors(batch, evaluation.seed)
        extended = with_role(batch, UNINVOLVED, distractors.positions)
        read = roles_of_verdict(batch)
        placebos = tuple(role for role in PLACEBOS if role in extended.roles)
        reduced = dataclasses.replace(
            evaluation,
            roles=(*read, *placebos),
            corruptions=(CORRUPTION,),
            directions=("restore",),
        )
        positions = role_positions(task, extended, reduced.roles)
        material = Material(batch, positions, distractors.in_documents(batch))
        return cls(model, task, reduced, read, placebos), material

    @property
    def sites(self) -> tuple[str, ...]:
        """What is measured."""
        return verdict_sites(self.model)

    def on_device(self, params: PyTree, untrained: PyTree, material: "Material") -> PyTree:
        """All that the device has to do, for `on_host`. Traceable."""
        grid = compile_grid(self.model, self.task, self.evaluation, self.sites)
        batch, positions = material.batch, material.positions
        return {
            "own": grid(params, batch, positions),
            "untrained": grid(untrained, batch, positions),
            "distracted": _answer(
                self.model, params, self.task.read_length, batch, material.distracted
            ),
        }

    def on_host(self, raw: PyTree, material: "Material") -> tuple[Grid, list[dict[str, Any]]]:
        """The grid that the verdict reads, and the rows of ``controls.csv``."""
        positions, sites = np.asarray(material.positions), self.sites
        own, other = (
            grid_of(raw[name], self.evaluation, sites, positions) for name in ("own", "untrained")
        )
        sheet = _Sheet(own, self.evaluation)
        rows = [
            sheet.restored("untrained", other, site, role)
            for site in sites
            for role in self.read
            if role == "query" or SitePath.parse(site).component != "block_output"
        ]
        rows += [
            sheet.restored("placebo", own, site, role) for site in sites for role in self.placebos
        ]
        last = SitePath(self.model.layers - 1, "block_output").path
        rows += [
            sheet.restored("placebo", own, last, role) for role in self.read if role != "query"
        ]
        uninvolved = own.present[self.evaluation.roles.index(UNINVOLVED)]
        rows.append(sheet.distracted(raw["distracted"][:, 0], uninvolved))
        return own, with_discoveries(rows)


@flax.struct.dataclass
class Material:
    """The arrays of a `Controlled` measurement, or of all members of a group at once.

    Attributes:
        batch: the documents.
        positions: of the roles, of query 0.
        distracted: tokens of the documents with an uninvolved one replaced.
    """

    batch: Batch
    positions: Int[Array, "*members role document"]
    distracted: Int[Array, "*members document length"]


def measure_controlled(
    model: ModelConfig,
    params: PyTree,
    task: Task,
    batch: Batch,
    evaluation: EvaluationConfig,
    seed: int,
) -> tuple[Grid, list[dict[str, Any]]]:
    """Measure what a verdict reads, and the controls beside it: rows of ``controls.csv``.

    Args:
        model: shape of the model.
        params: the trained ones.
        task: which can corrupt its documents' keys.
        batch: the documents of the verdict.
        evaluation: resamples, confidence and seed.
        seed: of the untrained model; the run's own gives what it was before training.
    """
    measurement, material = Controlled.of(model, task, batch, evaluation)
    untrained = jax.jit(initialize, static_argnums=0)(model, jax.random.key(seed))
    raw = jax.device_get(measurement.on_device(params, untrained, material))
    return measurement.on_host(raw, material)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _answer(model, params, length, batch, tokens):
    """Probability of the answer to query 0 in other documents than the batch's own."""
    logits = run(
        LanguageModel(model),
        params,
        tokens[:, :length],
        None,
        batch.query_positions[:, :1],
        skip_unread=True,
    )
    return score(logits, batch).probability


class _Sheet:
    """Rows in units of the trained model's gap."""

    def __init__(self, own: Grid, evaluation: EvaluationConfig):
        self._own, self._confidence = own, evaluation.confidence
        self._clean, self._corrupted = (own.runs["probability"][i] for i in (CLEAN, 1))
        self._bootstrap = Bootstrap([len(self._clean)], evaluation.resamples, evaluation.seed)

    def _row(self, control, effect, present, **place):
        gap = self._clean - self._corrupted
        estimate = attribution(self._bootstrap, effect, gap, present)
        return {"control": control, **place} | describe(estimate, self._confidence)

    def restored(self, control: str, grid: Grid, site: str, role: str) -> dict[str, Any]:
        """Clean activations of a model put into its corrupted run, at one site and role."""
        r = grid.roles.index(role)
        effect = grid.patched[site]["probability"][0, 0, r] - grid.runs["probability"][1]
        place = {"corruption": CORRUPTION, "direction": "restore", **place_of(site), "role": role}
        return self._row(control, effect, grid.present[r], metric="attribution", **place)

    def distracted(self, changed: np.ndarray, present: np.ndarray) -> dict[str, Any]:
        """What the replacement of an uninvolved token takes from the answer."""
        place = {"corruption": UNINVOLVED, "direction": "damage", "layer": None}
        place |= {"component": "tokens", "site": "tokens", "role": UNINVOLVED}
        return self._row(
            "distractor", self._clean - changed, present, metric="attribution", **place
        )


def with_controls(verdict: Verdict, rows: list[dict[str, Any]]) -> Verdict:
    """A verdict whose evidence has the controls beside its numbers.

    Every attribution gets what the ``untrained`` model has at that place, and the ``placebo`` at
    its site (the uninvolved token); the evidence gets the ``distractor``.
    """
    found = {(row["control"], row["site"], row["role"]): row for row in rows}
    attributions = [
        entry
        | {
            "untrained": _value(found, "untrained", entry["site"], entry["role"]),
            "placebo": _value(found, "placebo", entry["site"], UNINVOLVED),
        }
        for entry in verdict.evidence["attributions"]
    ]
    distractor = found["distractor", "tokens", UNINVOLVED]
    numbers = {name: distractor[name] for name in ("value", "low", "high", "documents")}
    evidence = verdict.evidence | {"attributions": attributions, "distractor": numbers}
    return dataclasses.replace(verdict, evidence=evidence)


def _value(found, *place) -> float | None:
    return found[place]["value"] if place in found else None
