"""The measurement of a verdict as one program: pairs that are exchanged, and pairs withheld.

The clean and the corrupted run differ in the earlier token of the pair (`tasks.geometry`). At every
place (`places`) sets of positions are exchanged together: to restore, clean activations go into the
corrupted run; to damage, corrupted ones into the clean run. A pair is withheld from the question
of a layer as follows: in the clean run, the output of the layer's mixer at the question is
replaced by the output that it has if the mixer's input at both tokens of the pair, between them and
as far behind them as the pair can stand, with what the first layer has handed on there, is that of
another document.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Key, PyTree
from mecheval_jax.evaluation.config import DAMAGE, RESTORE
from mecheval_jax.evaluation.patching.exchange import CLEAN, Runs, pinned_sites
from mecheval_jax.evaluation.question import Question, corruption_key
from mecheval_jax.evaluation.verdict.places import LOCAL, READING, STREAM, Place, judged, places_of
from mecheval_jax.interventions.capture import handed_on, observe_block
from mecheval_jax.interventions.patch import compose, interchange, pin, replace
from mecheval_jax.interventions.positions import as_computed
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.site_path import SitePath
from mecheval_jax.tasks.base import Batch, Task, asked_positions, at_position
from mecheval_jax.tasks.geometry import Geometry, corrupt_pair
from mecheval_jax.tasks.scoring import MEASURES

WITHHOLD = "withhold"
"""What is done to a pair that a reader may not have, beside the directions of an exchange."""

CORRUPTED = 1
"""Index of the corrupted run."""

UNINVOLVED = "uninvolved"
"""Name of positions with another document's pair, which the question is not about."""

SETS = {
    STREAM: ("pair", "loose", "question", "elsewhere", "named", "rest", UNINVOLVED),
    LOCAL: ("pair", "loose"),
    READING: ("pair", UNINVOLVED),
}
"""Sets of positions at each kind of place, exchanged to restore (or, for `READING`, withheld)."""

DAMAGED = ("pair", "elsewhere")
"""Sets at a cut that are exchanged to damage as well."""


def pair_runs(question: Question, task: Task, key: Key, sites: set[str]) -> Runs:
    """The clean run, and the corrupted one whose pair is another. Traceable.

    Args:
        question: Model and documents.
        task: Task of the documents.
        key: Random key of the replaced tokens.
        sites: Paths whose activations are kept, with those that are pinned for them.
    """
    tokens = jnp.stack([question.batch.tokens, corrupt_pair(task, key, question.batch)])
    return Runs.of(question, tokens[:, :, : task.read_length], sites)


def cases_of(place: Place) -> list[tuple[str, str | int]]:
    """Direction and set of each exchange at a place; a number is the offset of one position."""
    if place.kind == READING:
        return [(WITHHOLD, name) for name in SETS[READING]]
    damaged = [(DAMAGE, name) for name in DAMAGED] if place.kind == STREAM else []
    return [(RESTORE, name) for name in (*SETS[place.kind], *place.singles)] + damaged


def masks_of(
    place: Place, found: Geometry, donors: Array, batch: Batch
) -> Bool[Array, "cases documents length"]:
    """Mask of the positions of each case at a place.

    Args:
        place: Place of the exchanges.
        found: Positions of the pairs of the documents.
        donors: Document whose pair lies where each document has nothing of the question; the index
            of the document itself if there is none.
        batch: Documents. Where the next document, which stands in for a withheld one, holds the
            asked item, there is no placebo: another answer would then be right.
    """
    asked = jnp.maximum(asked_positions(batch)[:, :1], 0)
    asked = jnp.take_along_axis(batch.tokens, asked, axis=1)
    brought = jnp.roll(batch.tokens, -1, axis=0) == asked
    pair, rest, named = (found.mask(name, place.reach) for name in ("pair", "rest", "named"))
    whole = pair | found.mask("loose", place.reach)
    alien = (donors != jnp.arange(len(donors)))[:, None]
    free = alien & ~named & (jnp.cumsum(found.question, axis=1) == 0)

    def mask(name: str | int) -> Array:
        if isinstance(name, int):
            return at_position(found.position(name), pair.shape[1])
        if place.kind == READING:
            placebo = whole[donors] & free
            placebo &= ~(placebo & brought).any(axis=1)[:, None]
            return whole if name == "pair" else placebo
        # Before the earlier token both runs are equal, and nothing could be restored.
        return pair[donors] & free & rest if name == UNINVOLVED else found.mask(name, place.reach)

    return jnp.stack([mask(name) for _, name in cases_of(place)])


@dataclasses.dataclass(frozen=True)
class Exchanges:
    """The measurement of a verdict for one shape of model.

    Attributes:
        model: Config of the model.
        task: Task of the documents.
        seed: Seed of the corruption.
        chunk: Number of patched runs computed at once.
    """

    model: ModelConfig
    task: Task
    seed: int
    chunk: int = 1

    def on_device(self, params: PyTree, batch: Batch, donors: Array) -> PyTree:
        """Answers of all runs, and whether each document has the positions. Traceable.

        Returns:
            ``applies`` [document]; ``runs``: each of `MEASURES` [run, document]; and by place,
            each of `MEASURES` [case, document] and ``present`` [case, document].
        """
        found = judged(self.model, self.task, batch)
        question = Question(LanguageModel(self.model), params, batch)
        places = places_of(self.model, self.task.usual_length)
        sites = {path for place in places for path in place.sites}
        for layer in range(self.model.layers):
            sites |= {SitePath(layer, "block_input").path, *handed_on(self.model, layer)}
        runs = pair_runs(question, self.task, corruption_key(self.seed), sites)
        measured = {"applies": found.applies, "runs": runs.answers}
        for place in places:
            masks = masks_of(place, found, donors, batch)
            if place.kind == READING:
                answers = self._withheld(runs, place.layer, masks, found)
            else:
                ends = {RESTORE: (CORRUPTED, CLEAN), DAMAGE: (CLEAN, CORRUPTED)}
                cases = enumerate(cases_of(place))
                items = np.array([(*ends[direction], i) for i, (direction, _) in cases])
                answers = runs.exchanged(place.sites, jnp.asarray(items), masks, self.chunk)
            kept = {name: answers[name] for name in MEASURES}
            measured[place.kind, place.layer] = kept | {"present": masks.any(axis=-1)}
        return {str(name): value for name, value in measured.items()}

    def _withheld(self, runs: Runs, layer: int, masks: Array, found: Geometry) -> dict[str, Array]:
        """Answers of clean runs whose question reads other documents at the masked positions."""
        read, given = (SitePath(layer, name).path for name in ("mixer_input", "mixer_output"))
        before = pinned_sites(given, self.model)
        handed = handed_on(self.model, layer)
        clean = runs.at(CLEAN, given, *handed, *before)
        residual = clean[SitePath(layer, "block_input").path]
        others = {path: jnp.roll(clean[path], -1, axis=0) for path in (read, *handed)}
        question = runs.question
        last = question.query if layer == self.model.layers - 1 else None
        here = as_computed(found.question, question.query, clean[given])

        def item(mask: Array) -> dict[str, Array]:
            mask = as_computed(mask, question.query, clean[read])
            without = replace(others, mask, base=clean)
            seen = observe_block(
                question.model, question.params, layer, residual, without, positions=last
            )
            patch = interchange(seen, given, here, base=clean)
            return runs.answers_of(CLEAN, compose(pin(clean, before), patch))

        return jax.lax.map(item, masks, batch_size=self.chunk if self.chunk > 1 else None)
