"""Runs of one program on several versions of the documents, and activations exchanged between them.

A patched run recomputes no more than the patch can change: the components of the same layer before
the site are pinned to the base run's values, and a single site is replaced whole by the patched
activation, so that the compiler drops everything that feeds only these. In runs that are computed
one at a time even that is saved where no document changes: if the activations that are exchanged
are the same in both runs, as most are before the token that differs, or if the site was not
computed there because nothing reads it, the answers are those of the base run.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Bool, Float, Int
from mecheval_jax.evaluation.question import Question
from mecheval_jax.interventions.capture import Interventions
from mecheval_jax.interventions.patch import compose, interchange, pin
from mecheval_jax.interventions.positions import as_computed, gather
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.site_path import SitePath
from mecheval_jax.tasks.scoring import divergence, log_probabilities

CLEAN = 0
"""Index of the clean run; the corrupted runs follow."""


def pinned_sites(site: str, config: ModelConfig) -> tuple[str, ...]:
    """The components that hold the base run's values when `site` is patched.

    They are those of the same layer that come before it; a site inside the mixer comes after
    ``mixer_input``.
    """
    place = SitePath.parse(site)
    if place.layer is None:  # embedding: nothing before it; final_norm: cheap enough to redo
        return ()
    order = config.components(place.layer)
    end = order.index("mixer_output" if place.in_mixer else place.component)
    return tuple(SitePath(place.layer, earlier).path for earlier in order[:end])


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """Runs on clean and corrupted documents, as arrays whose first axis is the run. Traceable.

    Attributes:
        question: Question: model, parameters and documents.
        tokens: Tokens of each run, up to the last that is read.
        activations: Activations by path.
        log_probabilities: Log-probabilities of every token at the query.
        answers: Each of `tasks.scoring.MEASURES` of the answer, by name.
    """

    question: Question
    tokens: Int[Array, "runs documents length"]
    activations: dict[str, Array]
    log_probabilities: Float[Array, "runs documents vocabulary"]
    answers: dict[str, Float[Array, "runs documents"]]

    @classmethod
    def of(
        cls, question: Question, tokens: Int[Array, "runs documents length"], sites: set
    ) -> "Runs":
        """All runs, with the activations at `sites` and at the sites that are pinned for them."""
        config = question.model.config
        captured = sites.union(*(pinned_sites(site, config) for site in sites))

        def one(tokens: Array) -> tuple[dict[str, Array], Array, dict[str, Array]]:
            logits, activations = question.observe(tokens)
            held = {path: activations[path] for path in captured}
            return held, log_probabilities(logits), question.answers(logits)

        return cls(question, tokens, *jax.lax.map(one, tokens))

    def at(self, run: int | Array, *paths: str) -> dict[str, Array]:
        """Activations of one run at some sites."""
        return {path: self.activations[path][run] for path in paths}

    def exchanged(
        self,
        sites: Sequence[str],
        items: Int[Array, "items 3"],
        positions: Int[Array, "sets documents"] | Bool[Array, "sets documents length"],
        chunk: int = 1,
    ) -> dict[str, Float[Array, "items documents"]]:
        """Answers of runs in which activations of another run replace their own.

        Args:
            sites: Paths that are exchanged together, in one layer, in the order of the computation.
            items: Indices of the base run, which is patched, of the source run, and of positions.
            positions: Position of each document, or mask of several positions, for each index.
            chunk: Number of patched runs computed at once.

        Returns:
            The measures of `answers`, and ``kl``: KL(patched || base) in nats.
        """

        def item(indices: Array) -> dict[str, Array]:
            run, source, which = indices
            at = positions[which]
            return jax.lax.cond(
                self._differ(sites, run, source, at),
                lambda: self.answers_of(run, self.exchange(sites, run, source, at)),
                lambda: self._unchanged(run),
            )

        return jax.lax.map(item, items, batch_size=chunk if chunk > 1 else None)

    def _differ(
        self,
        sites: Sequence[str],
        run: Array,
        source: Array,
        positions: Int[Array, " documents"] | Bool[Array, "documents length"],
    ) -> Bool[Array, ""]:
        """Whether two runs have other activations at some positions of `sites`, in any document."""
        different = []
        for site in sites:
            own, given = self.activations[site][run], self.activations[site][source]
            places = as_computed(positions, self.question.query, own)
            (own, present), (given, _) = gather(own, places), gather(given, places)
            present = present.reshape(*present.shape, *(1,) * (own.ndim - 2))
            different.append((present & (own != given)).any())
        return jnp.stack(different).any()

    def _unchanged(self, run: Array) -> dict[str, Float[Array, " documents"]]:
        """The answers of a run, and no KL."""
        answers = {name: values[run] for name, values in self.answers.items()}
        return {**answers, "kl": jnp.zeros_like(next(iter(answers.values())))}

    def exchange(
        self,
        sites: Sequence[str],
        run: int | Array,
        source: int | Array,
        positions: Int[Array, " documents"] | Bool[Array, "documents length"],
    ) -> Interventions:
        """Activations of the run `source` at some positions of `sites`, to be put into `run`."""
        pinned = pinned_sites(sites[0], self.question.model.config)
        given, held = self.at(source, *sites), self.at(run, *sites, *pinned)
        # Of several sites one may be computed from another. At positions that are not exchanged, it
        # must then follow from the exchange before, and cannot be held at the run's own values.
        base = held if len(sites) == 1 else None
        patches = [
            interchange(given, site, as_computed(positions, self.question.query, given[site]), base)
            for site in sites
        ]
        return compose(pin(held, pinned), *patches)

    def answers_of(
        self, run: int | Array, interventions: Interventions
    ) -> dict[str, Float[Array, " documents"]]:
        """Answers of one run under interventions, and KL(patched || base) in nats."""
        logits = self.question.run(self.tokens[run], interventions)
        kl = divergence(logits[:, 0], self.log_probabilities[run])
        return {**self.question.answers(logits), "kl": kl}
