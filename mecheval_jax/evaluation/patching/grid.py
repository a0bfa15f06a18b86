"""The interchange grid: every site x role x corruption x direction, as one program.

All activations of the corrupted run of each corruption and of the clean run are computed once.
Then at each site and role the activation of one run (the source) replaces that of the other (the
base), and the probability of the original answer is read at the query (`exchange`).
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Int, PyTree
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.config import RESTORE, EvaluationConfig
from mecheval_jax.evaluation.patching.exchange import CLEAN, Runs
from mecheval_jax.evaluation.question import Question, corruption_key
from mecheval_jax.evaluation.subject import Subject, measure
from mecheval_jax.interventions.addresses import listed, resolve_all, site_paths
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.site_path import SitePath
from mecheval_jax.tasks.base import Batch, Task


@dataclasses.dataclass(frozen=True)
class Grid:
    """Measures of the answers by document.

    Attributes:
        sites: Paths.
        evaluation: Options of the evaluation: roles, corruptions, directions are axes of `patched`.
        present: [role, document] Whether the document has the role.
        runs: [1 + corruption, document] Each of `tasks.scoring.MEASURES`, by name, in the clean
            and the corrupted runs.
        patched: [direction, corruption, role, document] The same in patched runs, by site and name;
            ``kl`` is KL(patched || base) in nats, where base is the run that was patched.
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
    """The paths that `sites` stand for; see `grid`.

    Raises:
        UserError: If a site does not exist, or none is named.
    """
    if sites is None:
        return default_sites(config)
    return site_paths(config) if listed(sites) == ("all",) else resolve_all(sites, config)


def check_roles(batch: Batch, roles: Sequence[str]) -> None:
    """Check that activations can be exchanged at the roles of query 0.

    Raises:
        UserError: If documents lack a role, it lies after the query, or no document has a position
            of any of the roles.
    """
    somewhere = False
    for role in roles:
        choose("role", role, batch.roles)
        if bool((batch.roles[role][:, 0] > batch.query_positions[:, 0]).any()):
            raise UserError(
                f"role {role!r} lies after the query, where nothing can change the answer"
            )
        somewhere |= bool((batch.roles[role][:, 0] >= 0).any())
    if not somewhere:
        present = [name for name, at in batch.roles.items() if bool((at[:, 0] >= 0).any())]
        raise UserError(
            f"no document has a position of {', '.join(roles)}: name one of {', '.join(present)}"
        )


def role_positions(batch: Batch, roles: Sequence[str]) -> Int[Array, "role document"]:
    """Positions of the roles of query 0. Traceable."""
    return jnp.stack([batch.roles[role][:, 0] for role in roles])


def grid(subject: Subject, sites: Sequence[str] | None = None) -> Grid:
    """Compute the grid.

    Args:
        subject: Subject that is measured.
        sites: Paths or aliases; ``["all"]`` for every site of the model; the canonical
            components of every layer if None.

    Raises:
        UserError: If a site, role or corruption does not exist; before any compute.
    """
    return measure(subject, plan_grid(subject, sites))


def plan_grid(
    subject: Subject, sites: Sequence[str] | None = None
) -> tuple["GridMeasurement", Batch]:
    """The plan of a grid that is yet to be measured; arguments and errors as in `grid`."""
    chosen = check_request(subject, sites)
    return GridMeasurement(subject.config, subject.task, subject.evaluation, chosen), subject.batch


def check_request(subject: Subject, sites: Sequence[str] | None) -> tuple[str, ...]:
    """The paths that `sites` stand for, after a check of them, of roles and of corruptions.

    Raises:
        UserError: If one does not exist.
    """
    chosen = chosen_sites(sites, subject.config)
    for corruption in subject.evaluation.corruptions:
        choose("corruption", corruption, subject.task.corruptions)
    check_roles(subject.batch, subject.evaluation.roles)
    return chosen


@dataclasses.dataclass(frozen=True)
class GridMeasurement:
    """The plan of a grid; see `evaluation.subject.Measurement`.

    Its arrays are the evaluation documents.

    Attributes:
        model: Config of the model.
        task: Task that can corrupt its documents.
        evaluation: Options of the evaluation: roles, corruptions, directions, seed and chunk.
        sites: Paths.
    """

    model: ModelConfig
    task: Task
    evaluation: EvaluationConfig
    sites: tuple[str, ...]

    def on_device(self, params: PyTree, arrays: Batch) -> PyTree:
        """Answers of all runs, patched or not, and positions of the roles. Traceable."""
        program = compile_grid(self.model, self.task, self.evaluation, self.sites)
        return *program(params, arrays), role_positions(arrays, self.evaluation.roles)

    def on_host(self, raw: PyTree, subject: Subject) -> Grid:
        """The grid of a subject."""
        runs, patched, positions = raw
        evaluation = subject.evaluation
        axes = (len(evaluation.directions), len(evaluation.corruptions), len(evaluation.roles), -1)
        measured = jax.tree.map(lambda values: values.reshape(axes), patched)
        return Grid(self.sites, evaluation, np.asarray(positions) >= 0, runs, measured)


def corrupted_tokens(
    task: Task, batch: Batch, corruptions: Sequence[str], seed: int
) -> list[Array]:
    """Tokens of each corruption: one for each document, the same at every site and role."""
    return [
        task.corrupt(corruption_key(seed, task.corruptions.index(name)), batch, name)
        for name in corruptions
    ]


def tokens_of_runs(
    task: Task, batch: Batch, evaluation: EvaluationConfig
) -> Int[Array, "runs documents length"]:
    """Tokens of the clean run and of the corrupted ones, up to the last that is read."""
    corrupted = corrupted_tokens(task, batch, evaluation.corruptions, evaluation.seed)
    return jnp.stack([batch.tokens, *corrupted])[:, :, : task.read_length]


MOST_BYTES = 256 * 2**20
"""Memory of the activations of all runs that are held at once, in bytes. States of a recurrence at
every token take some hundred times as much as a residual stream."""


@functools.lru_cache(maxsize=8)
def compile_grid(
    model: ModelConfig, task: Task, evaluation: EvaluationConfig, sites: Sequence[str]
) -> jax.stages.Wrapped:
    """The jitted grid: (params, batch) -> (runs, patched)."""
    module = LanguageModel(model)
    roles = evaluation.roles
    # One item is one patched run for each site: indices of the base run, of the source run and of
    # the role.
    items = np.array(
        [
            (1 + c, CLEAN, r) if direction == RESTORE else (CLEAN, 1 + c, r)
            for direction in evaluation.directions
            for c in range(len(evaluation.corruptions))
            for r in range(len(roles))
        ]
    )

    def measured(params: PyTree, arrays: tuple[Batch, Array]) -> PyTree:
        batch, tokens = arrays
        question, positions = Question(module, params, batch), role_positions(batch, roles)
        runs = Runs.of(question, tokens.swapaxes(0, 1), set(sites))
        same = {site: _same(site, sites) for site in sites}
        patched = {
            site: runs.exchanged((site,), jnp.asarray(items), positions, evaluation.chunk)
            for site in dict.fromkeys(same.values())
        }
        return runs.answers, {site: patched[same[site]] for site in sites}

    @jax.jit
    def program(params: PyTree, batch: Batch) -> PyTree:
        tokens = tokens_of_runs(task, batch, evaluation).swapaxes(0, 1)
        seen = jax.eval_shape(Question(module, params, batch).observe, tokens[:, 0])[1]
        held = sum(seen[site].size * seen[site].dtype.itemsize for site in sites) * tokens.shape[1]
        most = max(1, MOST_BYTES * len(tokens) // held)
        return in_blocks(functools.partial(measured, params), (batch, tokens), most)

    return program


def _same(site: str, sites: Sequence[str]) -> str:
    """The input of the next layer, if a site is the same activation and both are asked for."""
    place = SitePath.parse(site)
    if place.path == "embedding":
        reader = SitePath(0, "block_input")
    elif place.component == "block_output" and place.layer is not None:
        reader = SitePath(place.layer + 1, "block_input")
    else:
        return site
    return reader.path if reader.path in sites else site


def in_blocks(measured: Callable[[PyTree], PyTree], arrays: PyTree, most: int) -> PyTree:
    """What a function finds of documents, of which only so many are in memory at once. Traceable.

    Args:
        measured: Function of arrays whose first axis are documents, of which each is measured on
            its own; in what it returns they are the last axis.
        arrays: Arrays of all documents.
        most: Greatest number of documents at once.
    """
    documents = jax.tree.leaves(arrays)[0].shape[0]
    blocks = -(-documents // most)
    if blocks == 1:
        return measured(arrays)
    size = -(-documents // blocks)
    # Blocks take turns over the documents, so that devices that hold parts of them share each
    # block; documents of the front fill the last places.
    order = np.arange(blocks * size) % documents

    def split(leaf: Array) -> Array:
        return leaf[order].reshape(size, blocks, *leaf.shape[1:]).swapaxes(0, 1)

    def join(leaf: Array) -> Array:
        found = jnp.moveaxis(leaf, 0, -1)
        return found.reshape(*found.shape[:-2], blocks * size)[..., :documents]

    return jax.tree.map(join, jax.lax.map(measured, jax.tree.map(split, arrays)))
