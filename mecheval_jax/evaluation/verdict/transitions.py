"""Transitions of the verdict during training: when a mechanism appears, and whether it changes.

Verdicts are compared with their layers: a mechanism in another layer is another mechanism. There is
one verdict for every kept checkpoint; steps with the verdict ``undecided`` are passed over. If
verdict B follows verdict A, the transition is reported at the first step of B. Each replicate of
the bootstrap (the same resampled documents at all steps) has verdicts of its own at these steps,
and a step k of its own for the transition. Of the steps from A's first to B's last, k is the one
with the fewest exceptions: steps before k with the verdict B, and steps from k on without it.

Between two checkpoints nothing is known: a transition found at k happened after the checkpoint
before k. The lower end of its interval comes from these checkpoints, the upper end from the k.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from mecheval_jax.evaluation.verdict.rule import NOT_LEARNED, UNDECIDED


@dataclasses.dataclass(frozen=True)
class Transition:
    """A change of the verdict.

    Attributes:
        before: Verdict before it, with its layer: ``direct_retrieval (layer 1)``.
        after: Verdict after it.
        step: First checkpoint with the new verdict.
        low: Step after which the change happened.
        high: Step by which the change had happened; None if too many replicates show no change for
            an upper end of the interval.
    """

    before: str
    after: str
    step: int
    low: int
    high: int | None


def find_transitions(
    steps: Sequence[int],
    verdicts: Sequence[str],
    replicates: Sequence[Sequence[str]],
    confidence: float,
) -> list[Transition]:
    """The changes of a verdict over training.

    Args:
        steps: Steps of the checkpoints, in order.
        verdicts: Verdict at each step, with its layer as in `rule.label`.
        replicates: [step][replicate] Verdict of each replicate of the bootstrap, likewise.
        confidence: Confidence of the intervals.
    """
    classes = np.array(replicates)
    if steps[0] > 0:
        # No checkpoint is kept of step 0, at which a model has learned nothing.
        steps, verdicts = [0, *steps], [NOT_LEARNED, *verdicts]
        classes = np.concatenate([np.full_like(classes[:1], NOT_LEARNED, dtype=object), classes])
    stretches = _stretches(verdicts)
    return [
        _transition(steps, verdicts, classes, first, second, confidence)
        for first, second in itertools.pairwise(stretches)
    ]


def _stretches(verdicts: Sequence[str]) -> list[tuple[int, int]]:
    """First and last index of each stretch of equal verdicts, without undecided ones."""
    found: list[tuple[int, int]] = []
    for index, verdict in enumerate(verdicts):
        if verdict == UNDECIDED:
            continue
        if found and verdicts[found[-1][0]] == verdict:
            found[-1] = (found[-1][0], index)
        else:
            found.append((index, index))
    return found


def _transition(
    steps: Sequence[int],
    verdicts: Sequence[str],
    classes: np.ndarray,
    first: tuple[int, int],
    second: tuple[int, int],
    confidence: float,
) -> Transition:
    start, end, after = first[0], second[1], verdicts[second[0]]
    reached = classes[start : end + 1] == after  # [step, replicate]
    early = np.cumsum(reached, axis=0) - reached  # steps before k that have the new verdict
    late = (~reached)[::-1].cumsum(axis=0)[::-1]  # steps from k on that lack it
    never = reached.sum(axis=0)
    errors = np.concatenate([early + late, never[None]])
    # No change at A's first step; of steps with equally few exceptions the first counts.
    errors[0] = len(errors)
    change = start + errors.argmin(axis=0)
    ends = np.array([*steps[start : end + 1], np.inf])
    tail = (1 - confidence) / 2
    low = np.quantile(ends[change - start - 1], tail, method="lower")
    high = np.quantile(ends[change - start], 1 - tail, method="higher")
    latest = int(high) if np.isfinite(high) else None
    return Transition(verdicts[first[0]], after, int(steps[second[0]]), int(low), latest)
