"""Distributed alignment search (Geiger et al. 2024): in which subspace a variable is kept.

At a site and role let h_b and h_s be the activations of a base and a source document that differ
in one variable (`counterfactuals`). Exchanging the first k dimensions of a rotation R,

    h = h_b + B B^T (h_s - h_b),    B = the first k columns of R,

must make the model give the answer that the source's variable asks for. B is the orthonormal
factor of a free matrix [channels, k] (QR), fitted by Adam to the cross-entropy of the expected
answers on some documents; the rest of R can be any completion and is never formed. The share of
held-out documents that get the expected answer is the interchange accuracy. Beside it stand, in
the column ``subspace``:

* ``whole``: all channels are exchanged; no subspace can be expected to do better;
* ``none``: nothing is exchanged;
* ``random_labels``: B is fitted to, and judged by, answers shuffled among the documents;
* ``random_subspace``: a random B, each document's change scaled to the norm of the learned one;
* ``untrained_model``: B is fitted in a new model.

A search can succeed where a model merely can be steered (Makelov et al. 2024), which is what these
controls are there to show.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mecheval_jax.array_types import Array, Float, PyTree
from mecheval_jax.errors import UserError, choose, require_at_least
from mecheval_jax.evaluation.patching.attribution import place_of
from mecheval_jax.evaluation.patching.grid import pinned_sites, role_positions
from mecheval_jax.evaluation.representations.counterfactuals import (
    Counterfactual,
    counterfactual,
    present,
    variables_of,
)
from mecheval_jax.interventions.addresses import resolve_all
from mecheval_jax.interventions.capture import observe, run
from mecheval_jax.interventions.patch import compose, interchange, pin
from mecheval_jax.interventions.positions import as_computed, gather
from mecheval_jax.models.language_model import LanguageModel, initialize
from mecheval_jax.statistics.intervals import wilson
from mecheval_jax.tasks.base import Batch, Task

SUBSPACES = ("learned", "random_labels", "random_subspace", "whole", "none", "untrained_model")


@dataclasses.dataclass(frozen=True)
class SubspaceConfig:
    """How a subspace is searched and judged.

    Attributes:
        dimensions: k.
        steps: of Adam.
        learning_rate: of Adam.
        batch_size: documents of a step, drawn from those that are not held out.
        test_share: share of the documents that are held out.
        confidence: of all intervals.
        seed: of the counterfactuals, the first B and the controls.
    """

    dimensions: int = 8
    steps: int = 200
    learning_rate: float = 0.02
    batch_size: int = 64
    test_share: float = 0.25
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self):
        require_at_least(self, "subspaces", ("dimensions", "steps", "batch_size"), 1)
        if not self.learning_rate > 0:
            raise UserError(f"subspaces.learning_rate is {self.learning_rate}: above 0")
        for name in ("test_share", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"subspaces.{name} is {getattr(self, name)}: between 0 and 1")


@dataclasses.dataclass(frozen=True)
class Alignment:
    """A subspace at one site and role.

    Attributes:
        basis: [channels, dimensions], orthonormal columns.
        correct: kind of subspace -> whether each held-out document got its expected answer.
    """

    basis: np.ndarray
    correct: dict[str, np.ndarray]


def orthonormal(free: Float[Array, "channels dimensions"]) -> Float[Array, "channels dimensions"]:
    """Orthonormal columns that span those of a free matrix: a smooth function of it."""
    q, r = jnp.linalg.qr(free)
    return q * jnp.sign(jnp.diagonal(r))[None]


def align(
    model: LanguageModel,
    params: PyTree,
    pairs: Counterfactual,
    site: str,
    role: str,
    config: SubspaceConfig,
) -> Alignment:
    """Search the subspace of a variable at one site and role.

    Args:
        model: the model.
        params: its parameters.
        pairs: base and source documents that differ in the variable.
        site: a path; its own axes (heads, state) count as channels.
        role: where activations are exchanged.
        config: how to search.

    Raises:
        UserError: more dimensions than the site has channels, or documents too few to hold out.
    """
    documents = len(pairs.base)
    tested = round(config.test_share * documents)
    if not 0 < tested < documents:
        raise UserError(
            f"{documents} documents with subspaces.test_share {config.test_share}: there must be "
            "some to fit and some to hold out"
        )
    counted = present(pairs, role)
    positions = (pairs.base_roles[role], pairs.source_roles[role])
    basis, answers, shuffled = jax.device_get(
        _search(model, site, config, tested, params, pairs, positions, counted)
    )
    counted = np.asarray(counted)[:tested]
    expected = np.asarray(pairs.expected)[:tested]
    correct = {name: (found == expected)[counted] for name, found in answers.items()}
    correct["random_labels"] = (answers["random_labels"] == shuffled)[counted]
    return Alignment(basis, correct)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _search(model, site, config, tested, params, pairs, positions, counted):
    """The learned basis, answers to the first `tested` documents, and their shuffled labels."""
    first_key, shuffle_key, steps_key, random_key = jax.random.split(jax.random.key(config.seed), 4)
    pinned = pinned_sites(site, model.config)

    def activations(tokens, query):
        query = query[:, None]
        _, found = observe(model, params, tokens, positions=query, skip_unread=True)
        return {path: found[path] for path in (*pinned, site)}

    base = activations(pairs.base, pairs.base_query)
    source = activations(pairs.source, pairs.source_query)[site]
    places, source_places = (
        as_computed(position, query[:, None], source)
        for position, query in zip(positions, (pairs.base_query, pairs.source_query), strict=True)
    )
    own, other = _at(base[site], places), _at(source, source_places)
    if not config.dimensions <= own.shape[1]:
        raise UserError(f"{site} has {own.shape[1]} channels: {config.dimensions} are too many")

    def logits(rows, change):
        """Logits at the query of some documents, with a change at the role."""
        live = {path: values[rows] for path, values in base.items()}
        here, query = live[site], pairs.base_query[rows][:, None]
        changed = (own[rows] + change).reshape(len(rows), 1, *here.shape[2:])
        changed = {site: jnp.broadcast_to(changed, here.shape)}
        patch = interchange(changed, site, places[rows], base=live)
        patch = compose(pin(live, pinned), patch)
        return run(model, params, pairs.base[rows], patch, query, skip_unread=True)[:, 0]

    def project(rows, basis):
        return (other[rows] - own[rows]) @ basis @ basis.T

    optimizer = optax.adam(config.learning_rate)

    def fit(expected, free):
        def loss(free, rows):
            log_p = jax.nn.log_softmax(logits(rows, project(rows, orthonormal(free))))
            right = jnp.take_along_axis(log_p, expected[rows][:, None], axis=1)[:, 0]
            weights = counted[rows].astype(log_p.dtype)
            return -(weights * right).sum() / jnp.maximum(weights.sum(), 1)

        def step(carry, key):
            free, state = carry
            rows = jax.random.randint(key, (config.batch_size,), tested, len(expected))
            updates, state = optimizer.update(jax.grad(loss)(free, rows), state)
            return (optax.apply_updates(free, updates), state), None

        keys = jax.random.split(steps_key, config.steps)
        (free, _), _ = jax.lax.scan(step, (free, optimizer.init(free)), keys)
        return orthonormal(free)

    shuffled = _shuffle(shuffle_key, pairs.expected, counted)
    shape = (own.shape[1], config.dimensions)
    first, anywhere = (
        jax.random.normal(k, shape, own.dtype) * shape[0] ** -0.5 for k in (first_key, random_key)
    )
    learned, misled = (fit(expected, first) for expected in (pairs.expected, shuffled))
    rows = jnp.arange(tested)
    change = project(rows, learned)
    changes = {
        "learned": change,
        "random_labels": project(rows, misled),
        "random_subspace": match_norms(project(rows, orthonormal(anywhere)), change),
        "whole": other[rows] - own[rows],
        "none": jnp.zeros_like(change),
    }
    names = list(changes)
    found = jax.lax.map(
        lambda change: logits(rows, change).argmax(axis=-1), jnp.stack(list(changes.values()))
    )
    return learned, dict(zip(names, found, strict=True)), shuffled[:tested]


def _at(h, position):
    """One row of each document, its own axes flattened."""
    rows, _ = gather(h, position)
    return rows.reshape(h.shape[0], -1)


def match_norms(
    changes: Float[Array, "documents channels"], like: Float[Array, "documents channels"]
) -> Float[Array, "documents channels"]:
    """Changes scaled to the norms of others, document by document."""
    norms = [jnp.linalg.norm(x, axis=1, keepdims=True) for x in (changes, like)]
    return changes * norms[1] / jnp.maximum(norms[0], 1e-12)


def _shuffle(key, labels, counted):
    """Labels of the documents that count, in another order; the others keep theirs."""
    ranks = jax.random.uniform(key, labels.shape)
    # Both orders begin with the documents that count, and end with the same others.
    order, drawn = jnp.argsort(~counted), jnp.argsort(jnp.where(counted, ranks, jnp.inf))
    return labels.at[order].set(labels[drawn])


def subspace_rows(
    model: LanguageModel,
    params: PyTree,
    task: Task,
    batch: Batch,
    sites: Sequence[str],
    roles: Sequence[str],
    variables: Sequence[str],
    config: SubspaceConfig,
) -> Iterator[dict[str, Any]]:
    """Search a subspace for every site, role and variable: the long table.

    Args:
        model: the model.
        params: its parameters.
        task: where the documents come from.
        batch: documents; the first ones are held out.
        sites: paths or aliases.
        roles: where activations are exchanged.
        variables: the task's corruptions, and ``association``.
        config: how to search.

    Yields:
        site, layer, component, role, variable, dimensions, subspace, metric
        (``interchange_accuracy``), value, low, high, documents (held out).

    Raises:
        UserError: an unknown site, role or variable, or a role after the query.
    """
    chosen = resolve_all(sites, model.config)
    role_positions(task, batch, roles)
    for variable in variables:
        choose("variable", variable, variables_of(task))
    new = jax.jit(initialize, static_argnums=0)(model.config, jax.random.key(config.seed))
    make = jax.jit(counterfactual, static_argnums=(0, 2))
    for variable in variables:
        pairs = make(task, batch, variable, jax.random.key(config.seed))
        for site in chosen:
            for role in roles:
                correct = align(model, params, pairs, site, role, config).correct
                untrained = align(model, new, pairs, site, role, config).correct
                correct["untrained_model"] = untrained["learned"]
                place = place_of(site) | {"role": role, "variable": variable}
                for subspace in SUBSPACES:
                    yield {
                        **place,
                        "dimensions": config.dimensions,
                        "subspace": subspace,
                        "metric": "interchange_accuracy",
                        **_share(correct[subspace], config.confidence),
                    }


def _share(correct: np.ndarray, confidence: float) -> dict[str, Any]:
    documents = len(correct)
    if documents == 0:
        return {"value": None, "low": None, "high": None, "documents": 0}
    low, high = wilson(float(correct.sum()), documents, confidence)
    return {"value": float(correct.mean()), "low": low, "high": high, "documents": documents}
