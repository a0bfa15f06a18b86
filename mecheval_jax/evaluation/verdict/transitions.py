"""When a mechanism appears during training, and whether it changes.

A mechanism in another layer is another one: verdicts are compared with their layers. One is given
at every kept checkpoint; steps at which it is ``undecided`` are passed over.
Where two verdicts A, B follow one another, the transition is reported at the first step of B. In
each replicate of the bootstrap (the same resampled documents at all steps) it lies at the step k
that fits best: the fewest steps from A's first on that are B before k, or not B from k to B's
last. Between two checkpoints nothing is known: a transition found at k happened after the
checkpoint before it. The interval takes its lower end from those and its upper end from the k.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

UNTRAINED = "not_learned"
"""What a model is at step 0, where no checkpoint is kept."""


@dataclasses.dataclass(frozen=True)
class Transition:
    """A change of the verdict.

    Attributes:
        before: Verdict before it, with its layer: ``direct_retrieval (layer 1)``.
        after: Verdict after it.
        step: First checkpoint with the new one.
        low: Step after which it happened.
        high: Step by which it had happened; None where the replicates that never change are
            more than the interval leaves out.
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
        verdicts: Verdict at each, with its layer as of `rule.label`.
        replicates: [step][replicate] The same of each replicate of the bootstrap.
        confidence: Confidence of the intervals.
    """
    classes = np.array(replicates)
    if steps[0] > 0:
        steps, verdicts = [0, *steps], [UNTRAINED, *verdicts]
        classes = np.concatenate([np.full_like(classes[:1], UNTRAINED, dtype=object), classes])
    stretches = _stretches(verdicts)
    return [
        _transition(steps, verdicts, classes, first, second, confidence)
        for first, second in itertools.pairwise(stretches)
    ]


def _stretches(verdicts: Sequence[str]) -> list[tuple[int, int]]:
    """First and last index of each run of equal verdicts, undecided ones left out."""
    found: list[tuple[int, int]] = []
    for index, verdict in enumerate(verdicts):
        if verdict == "undecided":
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
    early = np.cumsum(reached, axis=0) - reached  # steps before k that have it already
    late = (~reached)[::-1].cumsum(axis=0)[::-1]  # steps from k on that do not
    never = reached.sum(axis=0)
    errors = np.concatenate([early + late, never[None]])
    # Of step 0 it is known that nothing was learned; the first that fits as well counts.
    errors[0] = len(errors)
    change = start + errors.argmin(axis=0)
    ends = np.array([*steps[start : end + 1], np.inf])
    tail = (1 - confidence) / 2
    low = np.quantile(ends[change - start - 1], tail, method="lower")
    high = np.quantile(ends[change - start], 1 - tail, method="higher")
    return Transition(
        before=verdicts[first[0]],
        after=after,
        step=int(steps[second[0]]),
        low=int(low),
        high=int(high) if np.isfinite(high) else None,
    )
