"""Query 0 of documents, asked of a model: the form of every run in a measurement.

The last layer is computed at the query alone (`LanguageModel`'s ``skip_unread``): its sites
that follow the mixer's look-up have that one position, since no other could change the answer.
"""

import dataclasses

import jax

from mecheval_jax.array_types import Array, Float, Int, Key, PyTree
from mecheval_jax.interventions.capture import Activations, Interventions, observe, run
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.scoring import MEASURES, score

CORRUPTIONS = 0x636F7272
"""Stream of the replaced tokens; those of documents have small numbers (`training.data.stream`)."""


def corruption_key(seed: int, number: int = 0) -> Key:
    """Random key that draws the tokens of a corruption; it differs from the keys of all documents.

    Args:
        seed: Seed of the evaluation.
        number: Number of the corruption.
    """
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), CORRUPTIONS), number)


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """Query 0 of documents, and the model that answers it. Every method is traceable.

    Attributes:
        model: Model that is asked.
        params: Parameters of the model.
        batch: Documents; runs may be on other tokens, with the same queries and answers.
    """

    model: LanguageModel
    params: PyTree
    batch: Batch

    @property
    def query(self) -> Int[Array, "documents 1"]:
        """Position at which each answer is read."""
        return self.batch.query_positions[:, :1]

    def observe(
        self, tokens: Int[Array, "documents length"]
    ) -> tuple[Float[Array, "documents 1 vocabulary"], Activations]:
        """Logits at the query, and the activations at all sites."""
        return observe(self.model, self.params, tokens, positions=self.query, skip_unread=True)

    def run(
        self, tokens: Int[Array, "documents length"], interventions: Interventions | None = None
    ) -> Float[Array, "documents 1 vocabulary"]:
        """Logits at the query of a run under interventions."""
        return run(self.model, self.params, tokens, interventions, self.query, skip_unread=True)

    def answers(
        self, logits: Float[Array, "documents 1 vocabulary"]
    ) -> dict[str, Float[Array, " documents"]]:
        """Each of `tasks.scoring.MEASURES` of the answers."""
        scores = score(logits, self.batch)
        return {name: getattr(scores, name)[:, 0] for name in MEASURES}
