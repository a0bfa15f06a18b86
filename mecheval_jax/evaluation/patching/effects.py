"""Effects of an exchanged activation on the answer: the one definition of an attribution.

With y the probability of the answer (or its logit less the mean logit) in the clean run (o),
the corrupted run (c) and one in which an activation was exchanged (r), per document:

    change      = y(r) - y(c) to restore, y(r) - y(o) to damage
    attribution = mean(change) / mean(y(o) - y(c)), with the sign turned to damage

It is a ratio of means and not a mean of ratios, so that documents with a small gap do not dominate.
It is given only if the mean gap y(o) - y(c) is above `SMALLEST_GAP`. Intervals are those of a
paired bootstrap over documents (`statistics`), with the same resamples for every attribution.

The interchange grid measures changes and `attribution_patching` estimates them; the verdict, its
controls, circuits, the agreement of estimates, tables and figures get attributions from here.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from mecheval_jax.evaluation.config import DAMAGE, RESTORE, EvaluationConfig
from mecheval_jax.evaluation.patching.exchange import CLEAN
from mecheval_jax.evaluation.patching.grid import Grid
from mecheval_jax.statistics.bootstrap import Bootstrap, Estimate

SMALLEST_GAP = 0.01
EXACT = "exact"


@dataclasses.dataclass(frozen=True)
class Gap:
    """The effect of a corruption on the answer in each document: the unit of attributions.

    Attributes:
        clean: [document] The measure in the clean run.
        corrupted: [document] The measure in the corrupted run.
        bootstrap: Resamples of the documents.
        by_document: Whether a share is the slope of changes on gaps, a line through 0 by least
            squares, in place of a ratio of means. A model whose answers move up in some documents
            and down in others has one as well, though the mean of its gaps is about 0.
    """

    clean: np.ndarray
    corrupted: np.ndarray
    bootstrap: Bootstrap
    by_document: bool = False

    @property
    def sizes(self) -> np.ndarray:
        """Clean less corrupted measure [document]."""
        return self.clean - self.corrupted

    def mean(self, present: np.ndarray | None = None) -> Estimate:
        """Mean gap over the documents that are present [document]; over all if None."""
        present = np.ones(len(self.clean), bool) if present is None else present
        return self.bootstrap.mean(self.sizes, present)

    def restored(self, answers: np.ndarray, present: np.ndarray | None = None) -> Estimate:
        """Share that comes back in changed corrupted runs with these answers; see `share`."""
        return self.share(answers - self.corrupted, present)

    def taken(self, answers: np.ndarray, present: np.ndarray | None = None) -> Estimate:
        """Share that is lost in changed clean runs with these answers; see `share`."""
        return self.share(self.clean - answers, present)

    def share(self, changes: np.ndarray, present: np.ndarray | None = None) -> Estimate:
        """Attribution of a change: its mean over the mean gap; NaN if the mean gap is too small.

        It is the slope if shares are `by_document`.

        Args:
            changes: [document] Change of the measure, positive in the direction of the gap.
            present: [document] Documents over which the means are taken; all if None.
        """
        sizes = self.sizes
        present = np.ones(len(sizes), bool) if present is None else present
        weights = sizes if self.by_document else np.ones_like(sizes)
        smallest = 0.0 if self.by_document else SMALLEST_GAP
        if not (present.any() and (weights * sizes)[present].mean() > smallest):
            return Estimate.unknown(self.bootstrap.resamples, int(present.sum()))
        return self.bootstrap.ratio(weights * changes, weights * sizes, present)


@dataclasses.dataclass(frozen=True)
class Ends:
    """Answers in the clean and the corrupted runs, between which changes are measured.

    Attributes:
        method: Method that found the changes; ``exact`` if they were measured.
        measure: One of `tasks.scoring.MEASURES`.
        evaluation: Options of the evaluation: roles, corruptions and directions, which are axes of
            the changes; resamples, confidence and seed.
        runs: [1 + corruption, document] The measure in the clean and the corrupted runs.
        documents: Number of documents of each run, whose documents are adjacent; None for one run.
    """

    method: str
    measure: str
    evaluation: EvaluationConfig
    runs: np.ndarray
    documents: tuple[int, ...] | None = dataclasses.field(default=None, kw_only=True)

    @functools.cached_property
    def bootstrap(self) -> Bootstrap:
        """The resamples of documents that all estimates share."""
        documents = self.documents or (self.runs.shape[1],)
        return Bootstrap(documents, self.evaluation.resamples, self.evaluation.seed)

    def gap(self, corruption: str) -> Gap:
        """The gap of a corruption."""
        index = 1 + self.evaluation.corruptions.index(corruption)
        return Gap(self.runs[CLEAN], self.runs[index], self.bootstrap)


@dataclasses.dataclass(frozen=True)
class Effects(Ends):
    """Changes of the answer by document.

    Attributes:
        sites: Paths.
        present: [role, document] Whether the document has the role.
        changes: [direction, corruption, role, document] Changes of the measure, by site.
        whole: [corruption, document] What an estimate makes of the whole gap, which it should
            equal; None of a method that does not aim at that.
    """

    sites: tuple[str, ...]
    present: np.ndarray
    changes: dict[str, np.ndarray]
    whole: np.ndarray | None = None

    def cases(self) -> Iterator[dict[str, str]]:
        """Every corruption in every direction, as cells of a row."""
        for corruption in self.evaluation.corruptions:
            for direction in self.evaluation.directions:
                yield {"corruption": corruption, "direction": direction}

    def attribution(self, corruption: str, direction: str, site: str, role: str) -> Estimate:
        """Attribution of a site at a role.

        NaN where there is no such role, no document has it, or the gap is too small.
        """
        place = (corruption, direction, site, role)
        if place not in self._known:
            self._known[place] = self._attribution(*place)
        return self._known[place]

    @functools.cached_property
    def _known(self) -> dict[tuple[str, ...], Estimate]:
        return {}

    def _attribution(self, corruption: str, direction: str, site: str, role: str) -> Estimate:
        gap = self.gap(corruption)
        if role not in self.evaluation.roles:
            return gap.share(gap.sizes, np.zeros(len(gap.sizes), bool))
        d, c, (r,) = self.evaluation.index(corruption, direction, role)
        sign = 1 if direction == RESTORE else -1
        return gap.share(sign * self.changes[site][d, c, r], self.present[r])


def effects(grid: Grid, measure: str = "probability") -> Effects:
    """The effects measured by an interchange grid.

    Args:
        grid: Grid that was measured.
        measure: One of `tasks.scoring.MEASURES`.
    """
    runs, evaluation = grid.runs[measure], grid.evaluation
    bases = {RESTORE: runs[1:], DAMAGE: np.broadcast_to(runs[CLEAN], runs[1:].shape)}
    base = np.stack([bases[direction] for direction in evaluation.directions])[:, :, None]
    changes = {site: grid.patched[site][measure] - base for site in grid.sites}
    return Effects(EXACT, measure, evaluation, runs, grid.sites, grid.present, changes)
