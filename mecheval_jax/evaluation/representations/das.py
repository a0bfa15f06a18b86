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
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.config import SubspacesConfig
from mecheval_jax.evaluation.patching.grid import pinned_sites, role_positions
from mecheval_jax.evaluation.representations.counterfactuals import (
    Counterfactual,
    counterfactual,
    present,
    variables_of,
)
from mecheval_jax.evaluation.rows import place_of
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.addresses import resolve_all
from mecheval_jax.interventions.capture import observe, run
from mecheval_jax.interventions.patch import compose, interchange, pin
from mecheval_jax.interventions.positions import as_computed, gather
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.statistics.intervals import wilson

SUBSPACES = ("learned", "random_labels", "random_subspace", "whole", "none", "untrained_model")


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
    subject: Subject, config: SubspacesConfig, pairs: Counterfactual, site: str, role: str
) -> Alignment:
    """Search the subspace of a variable at one site and role.

    Args:
        subject: The model; the seed of its evaluation gives the first B and the controls.
        config: How to search.
        pairs: Base and source documents that differ in the variable.
        site: Path; its own axes (heads, state) count as channels.
        role: Role at which activations are exchanged.

    Raises:
        UserError: More dimensions than the site has channels, or documents too few to hold out.
    """
    documents = len(pairs.base)
    tested = round(config.test_share * documents)
    if not 0 < tested < documents:
        raise UserError(
            f"{documents} documents with analyses.subspaces.test_share {config.test_share}: there "
            "must be some to fit and some to hold out"
        )
    counted = present(pairs, role)
    positions = (pairs.base_roles[role], pairs.source_roles[role])
    search = _Search(subject.model, site, config, subject.evaluation.seed, tested)
    basis, answers, shuffled = jax.device_get(
        _search(search, subject.params, pairs, positions, counted)
    )
    counted = np.asarray(counted)[:tested]
    expected = np.asarray(pairs.expected)[:tested]
    correct = {name: (found == expected)[counted] for name, found in answers.items()}
    correct["random_labels"] = (answers["random_labels"] == shuffled)[counted]
    return Alignment(basis, correct)


@dataclasses.dataclass(frozen=True)
class _Search:
    """What a program of `_search` is compiled for."""

    model: LanguageModel
    site: str
    config: SubspacesConfig
    seed: int
    tested: int


@functools.partial(jax.jit, static_argnums=0)
def _search(
    search: _Search,
    params: PyTree,
    pairs: Counterfactual,
    positions: tuple[Array, Array],
    counted: Array,
) -> tuple[Array, dict[str, Array], Array]:
    """The learned basis, answers to the first `tested` documents, and their shuffled labels."""
    model, site, config, tested = search.model, search.site, search.config, search.tested
    first_key, shuffle_key, steps_key, random_key = jax.random.split(jax.random.key(search.seed), 4)
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
    subject: Subject, config: SubspacesConfig, sites: Sequence[str], variables: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Search a subspace for every site, role and variable: the long table.

    Args:
        subject: Model and documents, of which the first ones are held out. Activations are
            exchanged at the roles of its evaluation.
        config: How to search.
        sites: Paths or aliases.
        variables: The task's corruptions, and ``association``.

    Yields:
        site, layer, component, role, variable, dimensions, subspace, metric
        (``interchange_accuracy``), value, low, high, documents (held out).

    Raises:
        UserError: An unknown site, role or variable, or a role after the query.
    """
    task, evaluation = subject.task, subject.evaluation
    chosen, seed = resolve_all(sites, subject.config), evaluation.seed
    role_positions(subject.batch, evaluation.roles)
    for variable in variables:
        choose("variable", variable, variables_of(task))
    new = dataclasses.replace(subject, params=subject.untrained(seed))
    make = jax.jit(counterfactual, static_argnums=(0, 2))
    for variable in variables:
        pairs = make(task, subject.batch, variable, jax.random.key(seed))
        for site in chosen:
            for role in evaluation.roles:
                correct = align(subject, config, pairs, site, role).correct
                untrained = align(new, config, pairs, site, role).correct
                correct["untrained_model"] = untrained["learned"]
                place = place_of(site) | {"role": role, "variable": variable}
                for subspace in SUBSPACES:
                    yield {
                        **place,
                        "dimensions": config.dimensions,
                        "subspace": subspace,
                        "metric": "interchange_accuracy",
                        **_share(correct[subspace], evaluation.confidence),
                    }


def _share(correct: np.ndarray, confidence: float) -> dict[str, Any]:
    documents = len(correct)
    if documents == 0:
        return {"value": None, "low": None, "high": None, "documents": 0}
    low, high = wilson(float(correct.sum()), documents, confidence)
    return {"value": float(correct.mean()), "low": low, "high": high, "documents": documents}
