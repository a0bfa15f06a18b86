"""Where a model holds a pair, found by taking the pair out of the memory it is read from.

At one token or several, in one layer,

    recurrence    what they write into the state is set to 0 (site ``write``); the state's decay
                  and what they erase stay
    attention     the tokens of the question no longer read them (site ``scores``); the weights of
                  the others sum to 1 again

A pair is held at the later of its two tokens, or a few tokens behind where a layer mixes
neighbours. Of all layers, and of all such tokens, those count whose removal costs the answer most.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Float, Int, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.interventions.capture import Activations, Interventions, observe, run
from mecheval_jax.interventions.knockout import knockout_edges
from mecheval_jax.interventions.patch import replace
from mecheval_jax.site_path import SitePath, in_mixer
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.geometry import Geometry, check_geometry, geometry
from mecheval_jax.tasks.scoring import score

SPAN = 3
"""Tokens from the later one of a pair on at which it is looked for."""

MEMORIES = ("write", "scores")
"""Sites at which a pair can be taken out of a recurrence and of attention."""

OUTPUTS = ("head_output", "ssm_output")
"""Sites that hold what a mixer reads from its memory, the first that it has."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Tokens of a pair, seen from one layer.

    Attributes:
        site: Path of ``write`` or ``scores``.
        offset: Tokens from the later one of the pair to the first that is meant.
        tokens: Number of tokens that are meant.
    """

    site: str
    offset: int = 0
    tokens: int = 1

    @property
    def recurrent(self) -> bool:
        """Whether the layer keeps a state."""
        return SitePath.parse(self.site).name == "write"

    @property
    def state(self) -> str:
        """Path of the state that the layer keeps."""
        return SitePath.parse(self.site).beside("state").path

    def output(self, activations: Activations) -> str:
        """Path of what the layer reads, before its norm if there is a site for it."""
        site = SitePath.parse(self.site)
        paths = (site.beside(name).path for name in OUTPUTS)
        whole = SitePath(site.layer, "mixer_output").path
        return next((path for path in paths if path in activations), whole)

    def positions(self, found: Geometry) -> Int[Array, "documents tokens"]:
        """The tokens of each document's pair; negative where the question begins before them."""
        offsets = range(self.offset, self.offset + self.tokens)
        return jnp.stack([found.position(offset) for offset in offsets], axis=1)

    def removal(
        self,
        activations: Activations,
        positions: Int[Array, "documents tokens"],
        question: Bool[Array, "documents length"],
    ) -> Interventions:
        """Take out of the layer what documents have at `positions` (none where negative).

        Args:
            activations: Activations of the shapes that the model's have.
            positions: Tokens of each document.
            question: Mask of the tokens that could read them.
        """
        if self.recurrent:
            return replace({self.site: jnp.zeros_like(activations[self.site])}, positions)
        return knockout_edges(activations, [self.site], positions, question)

    def cells(self) -> dict[str, str | int | None]:
        """Layer, component, site, offset and number of tokens as cells of a row."""
        return {**vars(SitePath.parse(self.site)), **vars(self)}


@dataclasses.dataclass(frozen=True)
class Removed:
    """What removal at each place does to the answer.

    Attributes:
        places: Places that were tried.
        clean: Probability of the answer in each document.
        removed: The same after removal at each place.
        present: Documents that have a pair, and a token so far behind it, at each place.
    """

    places: tuple[Place, ...]
    clean: Float[np.ndarray, " documents"]
    removed: Float[np.ndarray, "places documents"]
    present: Bool[np.ndarray, "places documents"]

    @property
    def best(self) -> int:
        """Number of the place at which removal costs most."""
        drop = np.where(self.present, self.clean - self.removed, 0)
        return int((drop.sum(axis=1) / np.maximum(self.present.sum(axis=1), 1)).argmax())


def memories(subject: Subject, only: tuple[str, ...] = MEMORIES) -> tuple[str, ...]:
    """Paths of the sites from which a pair can be taken out, layer by layer.

    Raises:
        UserError: If no layer has one.
    """
    paths = site_paths(subject.config)
    wanted = (in_mixer(layer, name) for layer in range(subject.config.layers) for name in only)
    found = tuple(path for path in wanted if path in paths)
    if not found:
        raise UserError(
            f"{subject.config.mixer} has no site {' or '.join(only)}: there is no memory from "
            "which a pair could be taken out"
        )
    return found


def find_memory(
    subject: Subject, batch: Batch, only: tuple[str, ...] = MEMORIES, *, together: bool = False
) -> tuple[Removed, Geometry]:
    """Take the asked pair out at every place, and see what is left of the answer to query 0.

    Args:
        subject: Model and task.
        batch: Documents that are looked at.
        only: Names of the sites at which pairs are taken out.
        together: Whether all `SPAN` tokens of a pair are taken out at once, not one by one.

    Raises:
        UserError: If no layer has such a site, or documents have no pair.
    """
    check_geometry(subject.task, batch)
    found = geometry(subject.task, batch)
    sites = memories(subject, only)
    places = tuple(Place(site, offset) for site in sites for offset in range(SPAN))
    if together:
        places = tuple(Place(site, tokens=SPAN) for site in sites)
    query = batch.query_positions[:, :1]

    @jax.jit
    def probabilities(params: PyTree) -> Float[Array, "runs documents"]:
        # All positions of the last layer: edges are cut from each token of the question.
        logits, activations = observe(subject.model, params, batch.tokens, positions=query)
        runs = [logits]
        for place in places:
            taken = place.removal(activations, place.positions(found), found.question)
            runs.append(run(subject.model, params, batch.tokens, taken, query))
        return jnp.stack([score(each, batch).probability[:, 0] for each in runs])

    clean, *removed = np.asarray(probabilities(subject.params))
    present = [np.asarray(place.positions(found))[:, 0] >= 0 for place in places]
    return Removed(places, clean, np.stack(removed), np.stack(present)), found
