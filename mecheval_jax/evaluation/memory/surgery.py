"""Surgery on what one write has left in a layer's state, right before a question.

The layer is run again with other values at the token of the write, everything else of it as it was,
and the state right before the question is replaced by the one that this gives. Decays, reflections
and all other writes in between are those of the document, so that the change is exactly what these
values have left there. A write of Mamba-3 has the values of its token and the one before.
"""

import dataclasses
import functools
from collections.abc import Collection

import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.memory.removal import MemoryPlace
from mecheval_jax.interventions.capture import Activations, Interventions, observe
from mecheval_jax.interventions.patch import replace, shift
from mecheval_jax.interventions.positions import positions_mask
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.site_path import SitePath
from mecheval_jax.sites import STATE, reach_of
from mecheval_jax.tasks.base import ABSENT, Batch
from mecheval_jax.tasks.geometry import Geometry

WRITE = "write"
VALUES = ("v", "x")
"""Sites with the values that a mixer writes into its state; it has one of them."""


def written_values(write: str, paths: Collection[str]) -> str | None:
    """Path of the values of a write into a state; None if the values or the state have no site.

    H3 has a site with what it writes, and none with its state.

    Args:
        write: Path of the layer's ``write``.
        paths: Paths of sites.
    """
    here = SitePath.parse(write)
    if here.beside(STATE).path not in paths:
        return None
    beside = (here.beside(name).path for name in VALUES)
    return next((path for path in beside if path in paths), None)


def not_editable(what: str) -> UserError:
    """The refusal of a model or a layer of which `written_values` finds none."""
    return UserError(
        f"{what} has no site {STATE} with values beside it ({' or '.join(VALUES)}): nothing that "
        "could be edited"
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Surgery:
    """The state of one layer right before the question. Every method is traceable.

    Attributes:
        model: Model with the layer.
        params: Parameters of the model.
        batch: Documents.
        place: Place of pairs in the layer.
        found: Geometry of the documents.
        activations: Activations of the documents at all sites and positions.
    """

    model: LanguageModel
    params: PyTree
    batch: Batch
    place: MemoryPlace
    found: Geometry
    activations: Activations

    @functools.cached_property
    def site(self) -> str:
        """Path of the values that the layer writes.

        Raises:
            UserError: If the layer has no site with its values or with its state.
        """
        path = written_values(self.place.site, self.activations)
        if path is None:
            raise not_editable(f"layer {SitePath.parse(self.place.site).layer}")
        return path

    def tokens(self, at: Int[Array, " documents"]) -> Int[Array, "documents tokens"]:
        """Tokens whose values the write of one token of each document holds."""
        layer = self.place.layer
        reach = reach_of(self.model.config.build_mixer(layer)) or {}
        found = at[:, None] - jnp.arange(int(reach.get(WRITE, 0)) + 1)[None]
        return jnp.where((at >= 0)[:, None], found, ABSENT)

    def values_at(self, at: Int[Array, " documents"]) -> Float[Array, "documents tokens ..."]:
        """Values that the write of one token of each document holds."""
        return self.activations[self.site][jnp.arange(len(at))[:, None], self.tokens(at)]

    def state(self, activations: Activations | None = None) -> Float[Array, "documents ..."]:
        """State before the question, in other activations if they are given."""
        states = (self.activations if activations is None else activations)[self.place.state]
        return states[jnp.arange(len(states)), last_before(self.found)]

    def state_with(
        self, values: Float[Array, "documents tokens ..."], at: Int[Array, " documents"]
    ) -> Float[Array, "documents ..."]:
        """State before the question if the write of one token of each document had other values."""
        tokens, documents = self.tokens(at), jnp.arange(len(at))[:, None]
        changed = self.activations[self.site].at[documents, tokens].set(values)
        changed = replace({self.site: changed}, tokens)
        query = self.batch.query_positions[:, :1]
        return self.state(observe(self.model, self.params, self.batch.tokens, changed, query)[1])

    def state_without(self, at: Int[Array, " documents"]) -> Float[Array, "documents ..."]:
        """State before the question if the write of one token of each document had no values."""
        return self.state_with(jnp.zeros_like(self.values_at(at)), at)

    def leading_to(self, state: Float[Array, "documents ..."]) -> Interventions:
        """The interventions that replace the state before the question by this one."""
        states = self.activations[self.place.state]
        here = positions_mask(last_before(self.found), states.shape)
        return shift({self.place.state: jnp.where(here, (state - self.state())[:, None], 0)})


def last_before(found: Geometry) -> Int[Array, " documents"]:
    """Last token before the question of each document."""
    return found.question.argmax(axis=1) - 1
