"""The place where a model holds a pair, found by removing the pair from its memory.

A pair is removed at one token or several, in one layer:

    recurrence    the writes of the tokens into the state are set to 0 (site ``write``); the state's
                  decay and the tokens' erasure stay
    attention     the tokens of the question no longer read them (site ``scores``); the weights of
                  the others sum to 1 again

A layer can hold a pair from the later of its two tokens on. If it mixes neighbouring tokens, by a
short convolution for example, the pair may stand one or two tokens after that one. The removal is
tried in every layer at the later token and at those after it (`SPAN` in all), and the pair's place
is where it lowers the probability of the right answer most.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Float, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.interventions.capture import Activations, Interventions, observe, run
from mecheval_jax.interventions.knockout import knockout_edges
from mecheval_jax.interventions.patch import replace
from mecheval_jax.interventions.positions import Positions
from mecheval_jax.site_path import SitePath, in_mixer
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.geometry import Geometry, check_geometry, geometry
from mecheval_jax.tasks.scoring import score

SPAN = 3
"""Number of tokens at which a pair is looked for: its later one and those that follow."""

MEMORIES = ("write", "scores")
"""Sites at which a pair can be removed from a recurrence and from attention."""

OUTPUTS = ("head_output", "ssm_output")
"""Sites with the reading of a mixer from its memory; the first that it has counts."""


@dataclasses.dataclass(frozen=True)
class MemoryPlace:
    """Consecutive tokens in one layer from which a pair is removed.

    Attributes:
        site: Path of ``write`` or ``scores``.
        offset: Distance in tokens from the pair's later token to the first removed one.
        tokens: Number of consecutive tokens that are removed.
    """

    site: str
    offset: int = 0
    tokens: int = 1

    @property
    def layer(self) -> int:
        """Index of the layer."""
        return SitePath.parse(self.site).layer or 0

    @property
    def recurrent(self) -> bool:
        """Whether the layer keeps a state."""
        return SitePath.parse(self.site).name == "write"

    @property
    def state(self) -> str:
        """Path of the state that the layer keeps."""
        return SitePath.parse(self.site).beside("state").path

    def output(self, activations: Activations) -> str:
        """Path of the layer's reading, before its norm if there is a site for it."""
        site = SitePath.parse(self.site)
        paths = (site.beside(name).path for name in OUTPUTS)
        whole = SitePath(site.layer, "mixer_output").path
        return next((path for path in paths if path in activations), whole)

    def positions(self, found: Geometry) -> Bool[Array, "documents length"]:
        """Mask of the removed tokens, behind each place of a pair that a document repeats."""
        offsets = range(self.offset, self.offset + self.tokens)
        return jnp.stack([found.behind(offset) for offset in offsets]).any(axis=0)

    def present(self, found: Geometry) -> Bool[Array, " documents"]:
        """Whether the first removed token stands before each document's question."""
        return found.position(self.offset) >= 0

    def removal(
        self,
        activations: Activations,
        positions: Positions,
        question: Bool[Array, "documents length"],
    ) -> Interventions:
        """Remove from the layer what documents have at `positions`.

        Args:
            activations: Activations of the shapes that the model's have.
            positions: Tokens of each document, in any form of `interventions.positions`.
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
    """The effect of the removal at each place on the answer.

    Attributes:
        places: Places of removal.
        clean: Probability of the answer in each document.
        removed: Probability of the answer after removal at each place.
        present: Whether each document has a pair and each place's first token, before its question.
    """

    places: tuple[MemoryPlace, ...]
    clean: Float[np.ndarray, " documents"]
    removed: Float[np.ndarray, "places documents"]
    present: Bool[np.ndarray, "places documents"]

    @property
    def best(self) -> int:
        """Index of the place at which the removal lowers the mean probability most.

        A place that no document has is none, though removals at all others may raise it.
        """
        drop = np.where(self.present, self.clean - self.removed, 0).sum(axis=1)
        counts = self.present.sum(axis=1)
        return int(np.where(counts, drop / np.maximum(counts, 1), -np.inf).argmax())


def memories(subject: Subject, only: tuple[str, ...] = MEMORIES) -> tuple[str, ...]:
    """Paths of the sites at which a pair can be removed, layer by layer.

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
    subject: Subject,
    batch: Batch,
    sites: tuple[str, ...] | None = None,
    *,
    together: bool = False,
) -> tuple[Removed, Geometry]:
    """Remove the asked pair at every place, and measure the answer to query 0.

    Args:
        subject: Model and task.
        batch: Documents that are measured.
        sites: Paths of sites at which pairs are removed, of `memories`; all if None.
        together: Whether to remove all `SPAN` tokens of a pair at once, not one by one.

    Raises:
        UserError: If no layer has such a site, or documents have no pair.
    """
    check_geometry(subject.task, batch)
    found = geometry(subject.task, batch)
    sites = memories(subject) if sites is None else sites
    places = tuple(MemoryPlace(site, offset) for site in sites for offset in range(SPAN))
    if together:
        places = tuple(MemoryPlace(site, tokens=SPAN) for site in sites)
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
    present = [np.asarray(place.present(found)) for place in places]
    return Removed(places, clean, np.stack(removed), np.stack(present)), found
