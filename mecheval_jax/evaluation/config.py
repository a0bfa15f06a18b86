"""What the evidence of a run rests on."""

import collections
import dataclasses

from mecheval_jax.errors import UserError, choose, require_at_least
from mecheval_jax.tasks.base import SPLITS

DIRECTIONS = ("restore", "damage")


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Documents, roles, corruptions and intervals.

    Attributes:
        documents: evaluation documents (the study: 320).
        split: their split.
        roles: positions at which activations are exchanged.
        corruptions: roles whose token is replaced.
        directions: ``restore`` puts clean activations into the corrupted run,
            ``damage`` corrupted ones into the clean run.
        resamples: bootstrap samples over documents.
        confidence: of all intervals.
        seed: of corruptions and resamples.
        chunk: patched runs computed at once.
    """

    documents: int = 320
    split: str = "test"
    roles: tuple[str, ...] = ("key", "value", "next_key", "divider", "query")
    corruptions: tuple[str, ...] = ("key", "value")
    directions: tuple[str, ...] = DIRECTIONS
    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0
    chunk: int = 1

    def __post_init__(self):
        choose("evaluation.split", self.split, SPLITS)
        for name in ("roles", "corruptions", "directions"):
            given = getattr(self, name)
            if not given:
                raise UserError(f"evaluation.{name} is empty: name at least one")
            twice = [value for value, count in collections.Counter(given).items() if count > 1]
            if twice:
                raise UserError(f"evaluation.{name} names {', '.join(twice)} twice: once is enough")
        for direction in self.directions:
            choose("evaluation.directions", direction, DIRECTIONS)
        require_at_least(self, "evaluation", ("documents", "resamples", "chunk"), 1)
        if not 0 < self.confidence < 1:
            raise UserError(f"evaluation.confidence is {self.confidence}: between 0 and 1")
