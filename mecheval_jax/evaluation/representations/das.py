"""Distributed alignment search (Geiger et al. 2024): the subspace that holds a variable.

At a site and role let h_b and h_s be the activations of a base and a source document that differ
in one variable (`counterfactuals`). Exchanging the first k dimensions of a rotation R,

    h = h_b + B B^T (h_s - h_b),    B = the first k columns of R,

must make the model give the answer that the source's variable determines. B is the orthonormal
factor of a free matrix [channels, k] (QR), fitted by Adam to the cross-entropy of the expected
answers on some documents; the rest of R can be any completion and is never formed. No association
that a held-out document expects is one that B was fitted to (`counterfactuals.apart`). The share of
held-out documents with the expected answer is the interchange accuracy. The column ``subspace``
also has controls:

* ``whole``: all channels are exchanged, an upper bound for subspaces;
* ``none``: nothing is exchanged;
* ``random_labels``: B is fitted to, and tested on, answers shuffled among the documents;
* ``random_subspace``: a random B, each document's change scaled to the norm of the learned one;
* ``untrained_model``: B is fitted in a new model.

A search can succeed merely because a model can be steered (Makelov et al. 2024); the controls show
whether it did.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mecheval_jax.array_types import Array, Bool, Float, Int, Key, PyTree
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.config import SubspacesConfig, count_held_out
from mecheval_jax.evaluation.patching.exchange import pinned_sites
from mecheval_jax.evaluation.patching.grid import check_roles
from mecheval_jax.evaluation.question import Question, corruption_key
from mecheval_jax.evaluation.representations.counterfactuals import (
    Counterfactual,
    apart,
    counterfactual,
    present,
    variables_of,
)
from mecheval_jax.evaluation.rows import describe_share, place_of
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.addresses import resolve_all
from mecheval_jax.interventions.patch import compose, interchange, pin
from mecheval_jax.interventions.positions import as_computed, gather
from mecheval_jax.interventions.subspaces import projection_onto
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.ops.precision import widened
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.scoring import AnswerScores, score

SUBSPACES = ("learned", "random_labels", "random_subspace", "whole", "none", "untrained_model")


@dataclasses.dataclass(frozen=True)
class Alignment:
    """A subspace at one site and role.

    Attributes:
        basis: [channels, dimensions] Orthonormal columns.
        correct: Whether each held-out document gets its expected answer, by kind of subspace.
    """

    basis: np.ndarray
    correct: dict[str, np.ndarray]


def orthonormal(free: Float[Array, "channels dimensions"]) -> Float[Array, "channels dimensions"]:
    """Orthonormal columns with the span of a free matrix, as a smooth function of it."""
    q, r = jnp.linalg.qr(free)
    return q * jnp.sign(jnp.diagonal(r))[None]


def align(
    subject: Subject, config: SubspacesConfig, pairs: Counterfactual, site: str, role: str
) -> Alignment:
    """Search the subspace of a variable at one site and role.

    Args:
        subject: Subject that is measured; the seed of its evaluation gives the first B and
            controls.
        config: Options of the search.
        pairs: Base and source documents that differ in the variable.
        site: Path; its own axes (heads, state) count as channels.
        role: Role at which activations are exchanged.

    Raises:
        UserError: If the site has fewer channels than the subspace has dimensions, or there are too
            few documents to hold some out.
    """
    tested = count_held_out("subspaces", config.test_share, len(pairs.valid))
    search = _Search(subject.model, site, role, config, subject.evaluation.seed, tested)
    basis, correct, counted = jax.device_get(_search(search, subject.params, pairs))
    return Alignment(basis, {name: right[counted].astype(bool) for name, right in correct.items()})


def check_dimensions(config: SubspacesConfig, site: str, channels: int) -> None:
    """Check that a site has room for the subspace.

    Raises:
        UserError: If it has fewer channels than the subspace has dimensions.
    """
    if config.dimensions > channels:
        raise UserError(
            f"analyses.subspaces.dimensions is {config.dimensions}: {site} has {channels} channels"
        )


@dataclasses.dataclass(frozen=True)
class _Search:
    """Static part of a search, for which its program is compiled."""

    model: LanguageModel
    site: str
    role: str
    config: SubspacesConfig
    seed: int
    tested: int


@functools.partial(jax.jit, static_argnums=0)
def _search(
    search: _Search, params: PyTree, pairs: Counterfactual
) -> tuple[Array, dict[str, Array], Array]:
    """The learned basis, right answers to `tested` documents, and which of these count."""
    model, site, config, tested = search.model, search.site, search.config, search.tested
    first_key, shuffle_key, steps_key, random_key = jax.random.split(jax.random.key(search.seed), 4)
    pinned = pinned_sites(site, model.config)
    pairs = apart(pairs, tested)

    # Activations of base and source at the site, each at its own role.
    def look(batch: Batch) -> tuple[dict[str, Array], Array, Array]:
        question = Question(model, params, batch)
        seen = question.observe(batch.tokens)[1]
        places = as_computed(batch.roles[search.role][:, 0], question.query, seen[site])
        rows = widened(gather(seen[site], places)[0]).reshape(len(places), -1)
        return {path: seen[path] for path in (*pinned, site)}, places, rows

    base, places, own = look(pairs.base)
    other = look(pairs.source)[2]
    check_dimensions(config, site, own.shape[1])

    # Scores of the answers to some base documents, with a change of the activation at the role.
    def score_changed(rows: Array, change: Array, answers: Array) -> AnswerScores:
        live, batch = jax.tree.map(lambda values: values[rows], (base, pairs.base))
        changed = (own[rows] + change).reshape(len(rows), 1, *live[site].shape[2:])
        changed = {site: jnp.broadcast_to(changed, live[site].shape).astype(live[site].dtype)}
        patch = interchange(changed, site, places[rows], base=live)
        logits = Question(model, params, batch).run(batch.tokens, compose(pin(live, pinned), patch))
        return score(logits, batch.replace(targets=answers[rows]))

    def project(rows: Array, basis: Array) -> Array:
        return (other[rows] - own[rows]) @ projection_onto(basis)

    # The search for a basis whose exchange gives the expected answers.
    optimizer = optax.adam(config.learning_rate)
    counted = present(pairs, search.role)

    def fit(answers: Array, free: Array) -> Array:
        def loss(free: Array, rows: Array) -> Array:
            losses = score_changed(rows, project(rows, orthonormal(free)), answers).loss[:, 0]
            weights = counted[rows].astype(losses.dtype)
            return (weights * losses).sum() / jnp.maximum(weights.sum(), 1)

        def step(carry: Any, key: Array) -> tuple[Any, None]:
            free, state = carry
            rows = jax.random.randint(key, (config.batch_size,), tested, len(answers))
            updates, state = optimizer.update(jax.grad(loss)(free, rows), state)
            return (optax.apply_updates(free, updates), state), None

        keys = jax.random.split(steps_key, config.steps)
        (free, _), _ = jax.lax.scan(step, (free, optimizer.init(free)), keys)
        return orthonormal(free)

    expected = pairs.base.targets
    shuffled = expected.at[:, 0].set(_shuffle(shuffle_key, expected[:, 0], counted))
    shape = (own.shape[1], config.dimensions)
    first, anywhere = (
        jax.random.normal(k, shape, own.dtype) * shape[0] ** -0.5 for k in (first_key, random_key)
    )
    learned, misled = (fit(answers, first) for answers in (expected, shuffled))

    # Answers of the held-out documents with every kind of subspace exchanged.
    rows = jnp.arange(tested)
    change = project(rows, learned)
    kinds = {
        "learned": (change, expected),
        "random_labels": (project(rows, misled), shuffled),
        "random_subspace": (match_norms(project(rows, orthonormal(anywhere)), change), expected),
        "whole": (other[rows] - own[rows], expected),
        "none": (jnp.zeros_like(change), expected),
    }
    stacked = tuple(jnp.stack(parts) for parts in zip(*kinds.values(), strict=True))
    correct = jax.lax.map(lambda kind: score_changed(rows, *kind).correct[:, 0], stacked)
    return learned, dict(zip(kinds, correct, strict=True)), counted[:tested]


def match_norms(
    changes: Float[Array, "documents channels"], like: Float[Array, "documents channels"]
) -> Float[Array, "documents channels"]:
    """Changes, scaled to the norms of others, document by document."""
    norms = [jnp.linalg.norm(x, axis=1, keepdims=True) for x in (changes, like)]
    return changes * norms[1] / jnp.maximum(norms[0], 1e-12)


def _shuffle(
    key: Key, labels: Int[Array, " documents"], counted: Bool[Array, " documents"]
) -> Int[Array, " documents"]:
    """Labels of the documents that count, in a random order; the others keep theirs."""
    ranks = jax.random.uniform(key, labels.shape)
    # Both orders begin with the documents that count, and end with the same others.
    order, drawn = jnp.argsort(~counted), jnp.argsort(jnp.where(counted, ranks, jnp.inf))
    return labels.at[order].set(labels[drawn])


def subspace_rows(
    subject: Subject, config: SubspacesConfig, sites: Sequence[str], variables: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Search a subspace for every site, role and variable; gives the long table.

    Args:
        subject: Model and documents, some of which are held out. Activations are exchanged at the
            roles of its evaluation.
        config: Options of the search.
        sites: Paths or aliases.
        variables: Corruptions of the task, or ``association``.

    Yields:
        site, layer, component, role, variable, dimensions, subspace, metric
        (``interchange_accuracy``), value, low, high, documents (held out).

    Raises:
        UserError: If a site, role or variable does not exist, or a role lies after the query.
    """
    task, evaluation = subject.task, subject.evaluation
    chosen, seed = resolve_all(sites, subject.config), evaluation.seed
    check_roles(subject.batch, evaluation.roles)
    for variable in variables:
        choose("variable", variable, variables_of(task))
    new = dataclasses.replace(subject, params=subject.untrained(seed))
    make = jax.jit(counterfactual, static_argnums=(0, 2))
    for variable in variables:
        pairs = make(task, subject.batch, variable, corruption_key(seed))
        for site in chosen:
            for role in evaluation.roles:
                correct = align(subject, config, pairs, site, role).correct
                untrained = align(new, config, pairs, site, role).correct
                correct["untrained_model"] = untrained["learned"]
                place = place_of(site) | {"role": role, "variable": variable}
                for subspace in SUBSPACES:
                    right, tested = correct[subspace], len(correct[subspace])
                    share = float(right.mean()) if tested else np.nan
                    named = place | {"dimensions": config.dimensions, "subspace": subspace}
                    cell = describe_share(share, tested, evaluation.confidence)
                    yield named | {"metric": "interchange_accuracy", **cell, "documents": tested}
