"""Surgery on what one token has left in a layer's state, right before a question.

The layer is run again with another value at the token, everything else of it as it was, and the
state right before the question is replaced by the one that this gives. Decays, reflections and all
other writes in between are those of the document, so that the change is exactly what the token's
value has left there.
"""

import dataclasses
import functools

import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.memory.removal import MemoryPlace
from mecheval_jax.interventions.capture import Activations, Interventions, observe
from mecheval_jax.interventions.patch import replace, shift
from mecheval_jax.interventions.positions import positions_mask
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.site_path import SitePath
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.geometry import Geometry

VALUES = ("v", "x")
"""Sites with the values that a mixer writes into its state; it has one of them."""


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
        here = SitePath.parse(self.place.site)
        paths = [here.beside(name).path for name in VALUES]
        path = next((path for path in paths if path in self.activations), None)
        if path is None or self.place.state not in self.activations:
            raise UserError(
                f"layer {here.layer} has no site {self.place.state} with values beside it "
                f"({' or '.join(VALUES)}): nothing that could be edited"
            )
        return path

    def values_at(self, at: Int[Array, " documents"]) -> Float[Array, "documents ..."]:
        """Values of one token of each document."""
        return self.activations[self.site][jnp.arange(len(at)), at]

    def state(self, activations: Activations | None = None) -> Float[Array, "documents ..."]:
        """State before the question, in other activations if they are given."""
        states = (self.activations if activations is None else activations)[self.place.state]
        return states[jnp.arange(len(states)), last_before(self.found)]

    def state_with(
        self, values: Float[Array, "documents ..."], at: Int[Array, " documents"]
    ) -> Float[Array, "documents ..."]:
        """State before the question if one token of each document had other values."""
        everywhere = jnp.broadcast_to(values[:, None], self.activations[self.site].shape)
        changed = replace({self.site: everywhere}, at[:, None])
        query = self.batch.query_positions[:, :1]
        tokens = self.batch.tokens
        return self.state(observe(self.model, self.params, tokens, changed, query)[1])

    def leading_to(self, state: Float[Array, "documents ..."]) -> Interventions:
        """The interventions that replace the state before the question by this one."""
        states = self.activations[self.place.state]
        here = positions_mask(last_before(self.found), states.shape[1], states.ndim)
        return shift({self.place.state: jnp.where(here, (state - self.state())[:, None], 0)})


def last_before(found: Geometry) -> Int[Array, " documents"]:
    """Last token before the question of each document."""
    return found.question.argmax(axis=1) - 1
