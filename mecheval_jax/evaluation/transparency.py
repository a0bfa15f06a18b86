"""How clear a model's mechanism is, as four numbers that are never added up.

probability     share of the bootstrap's replicates in which the verdict is the same
                (`verdict.verdict`), the mean over the runs that have learned and were judged
agreement       share of these runs which have the verdict that most of them have
concentration   the greatest share of the answer that one vector, of one site at one position,
                brings back: 1 if a single vector holds the association, little if many hold
                parts of it; a question of several tokens counts as one position
circuit         the least number of edges of the model's graph that give 0.9 of the answer, and do
                so however many of the next best are added (`patching.circuits.smallest_circuit`)

Concentration is read from the evidence of a verdict: inputs of layers from 1 on, and the outputs of
local operations, at single positions from the pair's later token on and at the question. There the
answer stands in what the model has computed; at the replaced token itself, or at the query of the
last output, one vector brings it back whatever the model does, so that they are not looked at.
"""

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mecheval_jax.evaluation.config import RESTORE
from mecheval_jax.evaluation.verdict.evidence import FEWEST_DOCUMENTS
from mecheval_jax.evaluation.verdict.places import STREAM
from mecheval_jax.site_path import are_several

QUESTION = "question"
"""Set of positions that stands for the question, whose tokens are not looked at one by one."""


class Concentration(NamedTuple):
    """Where one vector brings most of the answer back.

    Attributes:
        value: Share of the answer that this vector brings back.
        low: Lower end of the share's interval.
        high: Upper end of the interval.
        site: Path of the site whose vector it is.
        role: Name of the position at which the vector stands.
    """

    value: float
    low: float | None
    high: float | None
    site: str
    role: str


class Agreement(NamedTuple):
    """What several runs are judged to do.

    Attributes:
        verdict: Verdict that most of them have; of several the more probable one.
        share: Share of the runs that have it.
        probability: Mean of its shares of the bootstrap over all of them.
    """

    verdict: str
    share: float
    probability: float


def concentration(attributions: Iterable[Mapping[str, Any]]) -> Concentration | None:
    """The concentration of a run.

    Args:
        attributions: Rows of ``attributions`` in the evidence of its verdict.

    Returns:
        None where no single position was measured: of a model of one layer without local
        operations.
    """
    found = [
        row
        for row in attributions
        if row["direction"] == RESTORE
        and row["value"] is not None
        and row.get("documents", FEWEST_DOCUMENTS) >= FEWEST_DOCUMENTS
        and not are_several(row["site"])
        and (row["single"] or (row["kind"] == STREAM and row["role"] == QUESTION))
    ]
    if not found:
        return None
    best = max(found, key=lambda row: row["value"])
    return Concentration(*(best[name] for name in Concentration._fields))


def agreement(judged: Sequence[Mapping[str, Any]]) -> Agreement | None:
    """The verdict on runs that have learned, and how far they agree; None without runs.

    Args:
        judged: Summaries of the runs, with ``verdict`` and ``probabilities``.
    """
    if not judged:
        return None
    counts = collections.Counter(one["verdict"] for one in judged)

    def mean(verdict: str) -> float:
        return float(np.mean([one["probabilities"].get(verdict, 0.0) for one in judged]))

    verdict = max(sorted(counts), key=lambda name: (counts[name], mean(name)))
    return Agreement(verdict, counts[verdict] / len(judged), mean(verdict))
