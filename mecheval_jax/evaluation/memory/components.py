"""Layers and heads that bind, and those that read: components switched off in places.

The outputs of a component of the model are replaced (`interventions.ablations`: zero, mean over
documents, resampled from another document) at all tokens, at the pair alone (its later token and
the two behind it, before the question), or from the question on. The share of the answer's
probability that is left is ``kept``: a component that binds is needed at the pair, one that reads
is needed at the question.

Components are every layer, and every head of layers that have several; in a model with attention
in some layers only, also all of these layers together, and all others together.

All combinations are runs of one program: every component has an entry at its sites, and a mask
selects the entries that hold.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Float, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.memory.removal import SPAN
from mecheval_jax.evaluation.rows import SIZE, describe
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions import ablations
from mecheval_jax.interventions.capture import Activations, at_sites, observe, run
from mecheval_jax.interventions.knockout import is_by_head
from mecheval_jax.interventions.positions import inside
from mecheval_jax.mixers.softmax_attention import SoftmaxAttention
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.site_path import SitePath, in_mixer
from mecheval_jax.statistics.bootstrap import Bootstrap, accuracy_interval
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.tasks.geometry import check_geometry, geometry
from mecheval_jax.tasks.scoring import score

HOWS = ("zero", "mean", "resample")
EVERYWHERE, PAIR, QUESTION = "everywhere", "pair", "question"

REACH = SPAN - 1
"""Number of tokens behind a pair's later token that count as the pair, as in `Geometry.mask`: those
at which it is looked for (`memory.removal`)."""


@dataclasses.dataclass(frozen=True)
class Component:
    """A component of a model that is switched off.

    Attributes:
        name: ``attention``, ``recurrent``, ``layer 1 (Mamba)``, ``layer 1, head 0``.
        layers: Layers whose mixers belong to the component.
        head: Head of the only layer; None for the whole mixers.
    """

    name: str
    layers: tuple[int, ...]
    head: int | None = None

    @property
    def sites(self) -> tuple[str, ...]:
        """Paths that are replaced."""
        if self.head is not None:
            return (in_mixer(self.layers[0], "head_output"),)
        return tuple(SitePath(layer, "mixer_output").path for layer in self.layers)


def components_of(config: ModelConfig, shapes: dict[str, tuple[int, ...]]) -> tuple[Component, ...]:
    """The components of a model that are switched off, the largest first.

    Args:
        config: Config of the model.
        shapes: Shape of the activation at every site.
    """
    layers = range(config.layers)
    mixers = [config.build_mixer(layer) for layer in layers]
    attends = [isinstance(mixer, SoftmaxAttention) for mixer in mixers]
    found = []
    if 0 < sum(attends) < len(attends):
        for name, kind in (("attention", True), ("recurrent", False)):
            found.append(Component(name, tuple(i for i in layers if attends[i] is kind)))
    found += [Component(f"layer {i} ({type(mixers[i]).__name__})", (i,)) for i in layers]
    for i in layers:
        path = in_mixer(i, "head_output")
        heads = shapes[path][2] if is_by_head(path, shapes) else 1
        if heads > 1:
            found += [Component(f"layer {i}, head {head}", (i,), head) for head in range(heads)]
    return tuple(found)


def component_rows(subject: Subject) -> Iterator[dict[str, Any]]:
    """The share of the answer that is left without each component; gives the long table.

    Columns: ``component`` (`Component.name`), ``where``, ``ablation``, ``metric``: ``kept``, the
    share of the answer's probability, with its interval; and ``accuracy``.

    Raises:
        UserError: If there is only one document.
    """
    batch, evaluation = subject.batch, subject.evaluation
    places = _places(subject.task, batch)
    shapes = _shapes(subject)
    components = components_of(subject.config, shapes)
    found = jax.device_get(_switch_off(subject, batch, components, places, shapes))
    clean, switched, has_donor = found
    bootstrap = Bootstrap([len(batch.tokens)], evaluation.resamples, evaluation.seed)
    here = np.ones(len(batch.tokens), bool)
    if PAIR in places:
        here = np.asarray(places[PAIR].any(axis=1))
    combinations = [(p.name, w, h) for p in components for w in places for h in HOWS]
    for (name, where, how), (probability, correct) in zip(combinations, switched, strict=True):
        present = np.ones_like(here) if where == EVERYWHERE else here
        if how == "resample":
            present = present & has_donor
        named = {"component": name, "where": where, "ablation": how}
        kept = bootstrap.ratio(probability, clean, present)
        cells = describe(kept, evaluation.confidence, tested=False, within=SIZE)
        yield named | {"metric": "kept"} | cells
        cells = describe(bootstrap.mean(correct, present), evaluation.confidence, tested=False)
        if present.any():
            right, asked = np.where(present, correct, 0), present.astype(float)
            ends = accuracy_interval(right, asked, evaluation.confidence, bootstrap)[0]
            cells |= dict(zip(("low", "high"), ends, strict=True))
        yield named | {"metric": "accuracy"} | cells


def _places(task: Task, batch: Batch) -> dict[str, Bool[Array, "documents length"]]:
    """Masks of tokens where components are switched off; only ``everywhere`` without a pair."""
    places = {EVERYWHERE: jnp.ones(batch.tokens.shape, bool)}
    try:
        check_geometry(task, batch)
    except UserError:
        return places
    found = geometry(task, batch)
    return places | {PAIR: found.mask("pair", REACH), QUESTION: found.mask("question")}


def _shapes(subject: Subject) -> dict[str, tuple[int, ...]]:
    """Shapes of the activations at all sites."""
    seen = jax.eval_shape(
        lambda params: observe(subject.model, params, subject.batch.tokens)[1], subject.params
    )
    return {path: leaf.shape for path, leaf in seen.items()}


def _switch_off(
    subject: Subject,
    batch: Batch,
    components: tuple[Component, ...],
    places: dict[str, Array],
    shapes: dict[str, tuple[int, ...]],
) -> tuple[
    Float[Array, " documents"],
    Float[Array, "combinations scores documents"],
    Bool[Array, " documents"],
]:
    """Probability of the answer, and with every component switched off at every place in every way.

    Returns:
        The probability without ablation; probability and correctness for every combination of
        component, place and ablation, in this order; and whether a document has another one of
        its length or more, from which to resample.
    """
    sites = tuple(dict.fromkeys(site for component in components for site in component.sites))
    # [component] by site: mask of the channels that belong to it; the mask of tokens comes later.
    chosen = {
        site: jnp.stack([_channels(component, site, shapes) for component in components])
        for site in sites
    }
    masks = jnp.stack(list(places.values()))
    counts = (len(components), len(masks), len(HOWS))
    combinations = jnp.stack(jnp.unravel_index(jnp.arange(np.prod(counts)), counts), axis=1)
    query, key = batch.query_positions[:, :1], jax.random.key(subject.evaluation.seed)

    def scores(logits: Array) -> Float[Array, "scores documents"]:
        found = score(logits, batch)
        return jnp.stack([found.probability[:, 0], found.correct[:, 0]])

    @jax.jit
    def everything(params: PyTree) -> tuple[Array, Array, Array]:
        logits, activations = observe(subject.model, params, batch.tokens, positions=query)
        values, has_donor = _ablated(activations, sites, key, inside(batch))

        def one(combination: Array) -> Array:
            component, place, how = combination
            entries = {}
            for site in sites:
                mask = masks[place].reshape(*masks.shape[1:], *(1,) * (len(shapes[site]) - 2))
                mask = mask & chosen[site][component][None, None]
                entries[site] = {"value": values[site][how], "mask": mask}
            return scores(run(subject.model, params, batch.tokens, entries, query))

        return scores(logits)[0], jax.lax.map(one, combinations), has_donor

    return everything(subject.params)


def _channels(
    component: Component, site: str, shapes: dict[str, tuple[int, ...]]
) -> Bool[Array, "..."]:
    """The heads of a site that belong to a component: [heads, 1], or [1] if the site has none."""
    if component.head is None or site not in component.sites:
        heads = (shapes[site][2], 1) if len(shapes[site]) > 3 else (1,)
        return jnp.full(heads, site in component.sites)
    return (jnp.arange(shapes[site][2]) == component.head)[:, None]


def _ablated(
    activations: Activations, sites: tuple[str, ...], key: Array, tokens: Bool[Array, "..."]
) -> tuple[dict[str, Float[Array, "ways ..."]], Bool[Array, " documents"]]:
    """The replacement of each site's activation, for each of `HOWS`; `tokens` is no padding.

    Returns:
        The replacements, and whether a document has another one from which to resample.
    """
    seen = at_sites(activations, sites)
    resampled = ablations.resample(seen, sites, key, tokens)
    ways = ablations.zero(seen, sites), ablations.mean(seen, sites, tokens), resampled
    values = {site: jnp.stack([way[site]["value"] for way in ways]) for site in sites}
    replaced = resampled[sites[0]]["mask"]
    return values, replaced.any(axis=tuple(range(1, replaced.ndim)))
