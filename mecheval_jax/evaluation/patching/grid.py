"""The interchange grid: every site x role x corruption x direction, as one program.

For the corrupted run of each corruption and the clean run, all activations are computed
once. Then at each site and role the activation of one run (the source) is put into the
other (the base), and the probability of the original answer is read at the query.

A patched run recomputes no more than the patch can change: the components of the same
layer that come before the site are pinned to the base run's values, and the site itself
is replaced whole by the patched activation, so the compiler drops all that comes before.
The last layer is computed at the query alone (`LanguageModel`'s ``skip_unread``); its sites
from ``mixer_output`` on then have that one position, and no other could change the answer.
"""

import dataclasses
import functools
from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Int, PyTree
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.subject import Subject, measure
from mecheval_jax.interventions.addresses import listed, resolve_all, site_paths
from mecheval_jax.interventions.capture import observe, run
from mecheval_jax.interventions.patch import compose, interchange, pin
from mecheval_jax.interventions.positions import as_computed
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.site_path import SitePath
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.tasks.scoring import MEASURES, score

CLEAN = 0
"""Index of the clean run; the corrupted ones follow in the order of the corruptions."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """Per-document measurements.

    Attributes:
        sites: Paths.
        evaluation: Its roles, corruptions and directions are axes of `patched`.
        present: [role, document] Whether the document has the role.
        runs: metric -> [1 + corruption, document], the clean and the corrupted runs: those of
            `tasks.scoring.MEASURES`.
        patched: site -> metric -> [direction, corruption, role, document]; ``kl`` is
            KL(patched || base) in nats, base being the run that was patched.
    """

    sites: tuple[str, ...]
    evaluation: EvaluationConfig
    present: np.ndarray
    runs: dict[str, np.ndarray]
    patched: dict[str, dict[str, np.ndarray]]


def default_sites(config: ModelConfig) -> tuple[str, ...]:
    """The canonical components of every layer."""
    return tuple(
        SitePath(layer, component).path
        for layer in range(config.layers)
        for component in config.components(layer)
    )


def chosen_sites(sites: Sequence[str] | None, config: ModelConfig) -> tuple[str, ...]:
    """The paths that `sites` stands for; see `grid`.

    Raises:
        UserError: an unknown site, or none.
    """
    if sites is None:
        return default_sites(config)
    return site_paths(config) if listed(sites) == ("all",) else resolve_all(sites, config)


def pinned_sites(site: str, config: ModelConfig) -> tuple[str, ...]:
    """The components to hold at the base run's values when `site` is patched.

    Those of the same layer that come before it; a site inside the mixer comes after
    ``mixer_input``.
    """
    place = SitePath.parse(site)
    if place.layer is None:  # embedding: nothing before it; final_norm: cheap enough to redo
        return ()
    order = config.components(place.layer)
    end = order.index("mixer_output" if place.in_mixer else place.component)
    return tuple(SitePath(place.layer, earlier).path for earlier in order[:end])


def role_positions(batch: Batch, roles: Sequence[str]) -> Int[Array, "role document"]:
    """Positions [role, document] of the roles of query 0.

    Raises:
        UserError: a role that the documents do not have, or that lies after the query.
    """
    positions = []
    for role in roles:
        choose("role", role, batch.roles)
        position = batch.roles[role][:, 0]
        if bool((position > batch.query_positions[:, 0]).any()):
            raise UserError(
                f"role {role!r} lies after the query, where nothing can change the answer"
            )
        positions.append(position)
    return jnp.stack(positions)


def grid(subject: Subject, sites: Sequence[str] | None = None) -> Grid:
    """Compute the grid.

    Args:
        subject: What is measured.
        sites: Paths or aliases; ``["all"]`` for every site of the model; the canonical
            components of every layer if None.

    Raises:
        UserError: An unknown site, role or corruption, before any compute.
    """
    return measure(subject, plan_grid(subject, sites))


def plan_grid(
    subject: Subject, sites: Sequence[str] | None = None
) -> tuple["GridMeasurement", "GridArrays"]:
    """The grid as a measurement yet to be made; arguments and errors as of `grid`."""
    task, evaluation = subject.task, subject.evaluation
    chosen = chosen_sites(sites, subject.config)
    for corruption in evaluation.corruptions:
        choose("corruption", corruption, task.corruptions)
    positions = role_positions(subject.batch, evaluation.roles)
    measurement = GridMeasurement(subject.config, task, evaluation, chosen)
    return measurement, GridArrays(subject.batch, positions)


@flax.struct.dataclass
class GridArrays:
    """The documents of a grid, or of those of all members of an ensemble.

    Attributes:
        batch: Evaluation documents.
        positions: Positions of the roles, of query 0.
    """

    batch: Batch
    positions: Int[Array, "*members role document"]


@dataclasses.dataclass(frozen=True)
class GridMeasurement:
    """A grid yet to be measured; see `evaluation.subject.Measurement`.

    Attributes:
        model: Shape of the model.
        task: Task that can corrupt its documents.
        evaluation: Roles, corruptions, directions, seed, chunk.
        sites: Paths.
    """

    model: ModelConfig
    task: Task
    evaluation: EvaluationConfig
    sites: tuple[str, ...]

    def on_device(self, params: PyTree, arrays: GridArrays) -> PyTree:
        """Answers of all runs, patched or not. Traceable."""
        program = compile_grid(self.model, self.task, self.evaluation, self.sites)
        return *program(params, arrays.batch, arrays.positions), arrays.positions

    def on_host(self, raw: PyTree, subject: Subject) -> Grid:
        """The grid of a subject."""
        runs, patched, positions = raw
        evaluation = subject.evaluation
        axes = (len(evaluation.directions), len(evaluation.corruptions), len(evaluation.roles), -1)
        measured = {
            site: {name: values.reshape(axes) for name, values in metrics.items()}
            for site, metrics in patched.items()
        }
        return Grid(self.sites, evaluation, np.asarray(positions) >= 0, runs, measured)


def corrupted_tokens(
    task: Task, batch: Batch, corruptions: Sequence[str], seed: int
) -> list[Array]:
    """Tokens of each corruption; one per document, shared by every site and role."""
    key = jax.random.key(seed)
    return [
        task.corrupt(jax.random.fold_in(key, task.corruptions.index(name)), batch, name)
        for name in corruptions
    ]


@functools.lru_cache(maxsize=8)
def compile_grid(
    model: ModelConfig, task: Task, evaluation: EvaluationConfig, sites: Sequence[str]
):
    """The jitted grid: (params, batch, positions) -> (runs, patched)."""
    module = LanguageModel(model)
    directions, corruptions = evaluation.directions, evaluation.corruptions
    # One item is one patched run per site: which run is the base, which the source, and
    # at which role.
    items = np.array(
        [
            (1 + c, CLEAN, r) if direction == "restore" else (CLEAN, 1 + c, r)
            for direction in directions
            for c in range(len(corruptions))
            for r in range(len(evaluation.roles))
        ]
    )

    @jax.jit
    def program(params, batch, positions):
        needed = {site: (*pinned_sites(site, model), site) for site in sites}
        captured = set().union(*needed.values())
        query = batch.query_positions[:, :1]
        clean = batch.tokens
        all_tokens = jnp.stack(
            [clean, *corrupted_tokens(task, batch, corruptions, evaluation.seed)]
        )
        all_tokens = all_tokens[:, :, : task.read_length]

        def answers(logits):
            scores = score(logits, batch)
            return {name: getattr(scores, name)[:, 0] for name in MEASURES}

        def base_run(tokens):
            logits, activations = observe(module, params, tokens, positions=query, skip_unread=True)
            log_p = jax.nn.log_softmax(logits[:, 0], axis=-1)
            return {path: activations[path] for path in captured}, log_p, answers(logits)

        activations, log_p, runs = jax.lax.map(base_run, all_tokens)

        def patched_at(site):
            def item(indices):
                base_index, source_index, role = indices
                base = {path: activations[path][base_index] for path in needed[site]}
                source = {site: activations[site][source_index]}
                places = as_computed(positions[role], query, source[site])
                patch = interchange(source, site, places, base=base)
                interventions = compose(pin(base, needed[site][:-1]), patch)
                tokens = all_tokens[base_index]
                logits = run(module, params, tokens, interventions, query, skip_unread=True)
                patched = jax.nn.log_softmax(logits[:, 0], axis=-1)
                kl = (jnp.exp(patched) * (patched - log_p[base_index])).sum(axis=-1)
                return {**answers(logits), "kl": kl}

            return jax.lax.map(
                item,
                jnp.asarray(items),
                batch_size=evaluation.chunk if evaluation.chunk > 1 else None,
            )

        return runs, {site: patched_at(site) for site in sites}

    return program
