"""What linear probes read off the activations at each site and role: key, value, and both.

A linear probe (`linear_probes`) is fitted on some documents and judged on the others:

* ``accuracy``: share of held-out documents in which it names the right class;
* ``control``: the accuracy of a probe whose labels were shuffled among the documents before the
  fit, which shows the effect of the probe's capacity and of the commonest class;
* ``selectivity`` = accuracy - control (Hewitt and Liang 2019).

A target is the token at a role; its classes are the tokens at that role in any document. ``pair``
is the key and the value together: a class for each pair, or, with more than `MOST_CLASSES` pairs,
the two codes concatenated. The nearest such code has the nearest key and the nearest value, so that
a pair is right if one activation names both.

With many classes most classes of held-out documents have no training document, and a random code
could not be predicted for them. The code of a token is therefore its embedding, centred over the
classes and scaled to length 1: the probe shows whether the token's embedding can be read.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, PyTree
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.config import ProbesConfig, count_held_out
from mecheval_jax.evaluation.patching.grid import chosen_sites
from mecheval_jax.evaluation.representations.linear_probes import (
    MOST_CLASSES,
    fit_classifiers,
    fit_codes,
    unit_rows,
)
from mecheval_jax.evaluation.rows import describe_share, place_of
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.capture import observe
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.ops.precision import widened
from mecheval_jax.statistics.intervals import difference_of_shares
from mecheval_jax.tasks.base import PAIR, Batch

METRICS = ("accuracy", "control", "selectivity")
PAIR_TARGET = "pair"
BLOCK = 128
"""Number of documents whose activations are computed at once."""


@dataclasses.dataclass(frozen=True)
class _Target:
    """The classes that probes read off.

    Attributes:
        labels: [labelling, document] Labels of each part: the right ones, then shuffled ones.
        tokens: Token of each class, for each part; None if a class is not a single token.
        present: Whether each document has the target.
        classes: Number of classes.
    """

    labels: list[np.ndarray]
    tokens: list[np.ndarray | None]
    present: np.ndarray
    classes: int


def probe_rows(
    subject: Subject, config: ProbesConfig, sites: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Fit a probe for every site, role and target; gives the long table.

    Args:
        subject: Model and documents, for fit and test; query 0 of each counts. Activations are
            taken at the roles of its evaluation.
        config: Options of the probes.
        sites: Sites as in `grid.grid`.

    Yields:
        site, layer, component, role, target, classes, metric, value, low, high, documents (held
        out). Where no document has the role, value and interval are None.

    Raises:
        UserError: If a site, role or target does not exist, or there are too few documents; before
            any compute.
    """
    batch, roles, seed = subject.batch, subject.evaluation.roles, subject.evaluation.seed
    chosen = chosen_sites(sites, subject.config)
    targets = {name: _target(batch, name, seed) for name in targets_of(subject, config)}
    documents = len(batch.tokens)
    tested_documents = count_held_out("probes", config.test_share, documents)
    order = np.random.default_rng([seed, 1]).permutation(documents)
    held_out = order.argsort() < tested_documents
    here = np.stack([np.asarray(batch.roles[role][:, 0]) >= 0 for role in roles])
    features = features_at(subject, chosen)
    embedding = subject.params["token_embedding"]["embedding"]
    # The probes of a site are fitted together; sites of one width share the compiled program.
    for site in chosen:
        right = {
            name: _fit(features[site], target, here & target.present, held_out, embedding, config)
            for name, target in targets.items()
        }
        for (index, role), name in itertools.product(enumerate(roles), targets):
            own, shuffled = right[name][index]
            place = {**place_of(site), "role": role, "target": name}
            place["classes"] = targets[name].classes
            for metric, score in _scores(own, shuffled, subject.evaluation.confidence).items():
                yield place | {"metric": metric, **score, "documents": len(own)}


def features_at(subject: Subject, sites: Sequence[str]) -> dict[str, Array]:
    """The activations of each site at the roles of the evaluation, [role, document, channels].

    A site's own axes (heads, state) count as channels. For a document that lacks the role the
    values are those of an arbitrary position, to be ignored.
    """
    batch = subject.batch
    positions = jnp.stack([batch.roles[role][:, 0] for role in subject.evaluation.roles], axis=1)
    return _gather(subject.model, tuple(sites), subject.params, batch.tokens, positions)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _gather(
    model: LanguageModel, sites: tuple[str, ...], params: PyTree, tokens: Array, positions: Array
) -> dict[str, Array]:
    def one(arguments: tuple[Array, Array]) -> dict[str, Array]:
        tokens, positions = arguments
        seen = observe(model, params, tokens[None])[1]
        return {
            site: widened(seen[site][0, positions]).reshape(len(positions), -1) for site in sites
        }

    found = jax.lax.map(one, (tokens, positions), batch_size=min(BLOCK, len(tokens)))
    return {site: jnp.swapaxes(values, 0, 1) for site, values in found.items()}


def targets_of(subject: Subject, config: ProbesConfig) -> tuple[str, ...]:
    """Names of the targets: those of the options, or the key, value and pair that documents have.

    Raises:
        UserError: If documents lack a role that is named, or all of these.
    """
    batch = subject.batch
    for role in subject.evaluation.roles:
        choose("role", role, batch.roles)
    for name in config.targets or ():
        for part in _parts_of(name):
            choose("analyses.probes.targets", part, batch.roles)
    return tuple(config.targets or _known(batch))


def _parts_of(target: str) -> tuple[str, ...]:
    """Roles whose tokens together are a target."""
    return PAIR if target == PAIR_TARGET else (target,)


def _known(batch: Batch) -> tuple[str, ...]:
    """The targets key, value and pair that documents have.

    Raises:
        UserError: If they have none of them.
    """
    found = tuple(role for role in PAIR if role in batch.roles)
    if not found:
        raise UserError(
            "probes read off key and value, and documents have neither: name others in "
            f"analyses.probes.targets, some of {', '.join(sorted(batch.roles))}"
        )
    return (*found, PAIR_TARGET) if len(found) > 1 else found


def _target(batch: Batch, name: str, seed: int) -> _Target:
    parts = _parts_of(name)
    positions = [np.asarray(batch.roles[part][:, 0]) for part in parts]
    present = np.all([position >= 0 for position in positions], axis=0)
    if not present.any():
        raise UserError(f"analyses.probes.targets {name!r}: no document has it at its first query")
    tokens, labels, documents = [], [], np.arange(len(batch.tokens))
    for position in positions:
        standing = np.asarray(batch.tokens)[documents, position]
        found = np.unique(standing[present])
        tokens.append(found)
        labels.append(np.searchsorted(found, np.where(present, standing, found[:1])))
    classes = int(np.prod([len(found) for found in tokens]))
    if min(map(len, tokens)) < 2:
        raise UserError(f"analyses.probes.targets {name!r}: it is the same token in all documents")
    if len(parts) > 1 and classes <= MOST_CLASSES:
        labels, tokens = [labels[0] * len(tokens[1]) + labels[1]], [None]
    having = np.flatnonzero(present)
    shuffled = documents.copy()
    shuffled[having] = np.random.default_rng(seed).permutation(having)
    labels = [np.stack([own, own[shuffled]]).astype(np.int32) for own in labels]
    return _Target(labels, tokens, present, classes)


def _fit(
    features: Array,
    target: _Target,
    present: np.ndarray,
    held_out: np.ndarray,
    embedding: Array,
    config: ProbesConfig,
) -> list[np.ndarray]:
    """Whether the probes of each role are right, [labelling, document] of the held-out documents.

    Args:
        features: [role, document, channels] Activations of a site.
        target: Classes that the probes read off.
        present: [role, document] Whether the document has the role, and the target.
        held_out: [document] Whether a document is held out for the test.
        embedding: [token, width] Embedding of the model.
        config: How probes are fitted.
    """
    asked, training = np.flatnonzero(held_out), present & ~held_out
    right = np.ones((len(features), 2, len(asked)), bool)
    documents = (jnp.asarray(training, features.dtype), jnp.asarray(asked, jnp.int32))
    for labels, tokens in zip(target.labels, target.tokens, strict=True):
        fit, answers = fit_classifiers, target.classes
        if target.classes > MOST_CLASSES:
            codes = embedding[tokens]
            fit, answers = fit_codes, unit_rows(codes - codes.mean(axis=0, keepdims=True))
        predicted, _ = fit(features, labels, *documents, answers, config.ridge)
        right &= np.asarray(predicted) == labels[None][..., asked]
    tested = present[:, asked] & training.any(axis=1, keepdims=True)
    return [of_role[:, judged] for of_role, judged in zip(right, tested, strict=True)]


def _scores(own: np.ndarray, shuffled: np.ndarray, confidence: float) -> dict[str, dict[str, Any]]:
    """Cells of the rows, by metric."""
    documents = len(own)
    if documents == 0:
        return dict.fromkeys(METRICS, describe_share(np.nan, 0, confidence))
    counts = [(float(right.sum()), documents) for right in (own, shuffled)]
    cells = [describe_share(hits / documents, documents, confidence) for hits, _ in counts]
    low, high = difference_of_shares(*counts, confidence)
    cells.append({"value": cells[0]["value"] - cells[1]["value"], "low": low, "high": high})
    return dict(zip(METRICS, cells, strict=True))
