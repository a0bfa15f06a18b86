"""The rule by which a verdict is decided; `verdict` states it in words.

It reads shares of the gap as arrays over cases: a single case gives the class, thousands of
replicates give its probability, and cases with other thresholds its sensitivity.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mecheval_jax.evaluation.config import DAMAGE, RESTORE
from mecheval_jax.evaluation.verdict.exchanges import UNINVOLVED, WITHHOLD
from mecheval_jax.evaluation.verdict.places import LOCAL, READING, STREAM

NAMED = 0.9
RESTORED = 0.5
SUBSTANTIAL = 0.2
NOT_LEARNED = "not_learned"
UNDECIDED = "undecided"
CLASSES = (
    "induction",
    "direct_retrieval",
    "convolutional_binding",
    "mixed",
    NOT_LEARNED,
    UNDECIDED,
)
UNDECIDED_INDEX = CLASSES.index(UNDECIDED)

ShareKey = tuple[str, int, str, str]
"""Kind of place, layer, direction and set."""


def label(name: str, layer: int | None) -> str:
    """A class with its layer: ``induction (layer 1)``."""
    return name if layer is None or layer < 0 else f"{name} (layer {layer})"


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Shares of the gap at which the rule divides; arrays over cases if these differ in them.

    Attributes:
        named: Least share of the named positions together.
        restored: Share above which a set of positions restores.
        substantial: Share above which a set of positions is no longer negligible.
    """

    named: float | np.ndarray = NAMED
    restored: float | np.ndarray = RESTORED
    substantial: float | np.ndarray = SUBSTANTIAL


@dataclasses.dataclass(frozen=True)
class Facts:
    """The facts that the rule reads, of one run or of several that are pooled.

    Attributes:
        layers: Depth of the model.
        shares: [cases] Share of the gap by quantity.
        learned: [cases] Whether the model is better than its floors, by reading the document.
        faint: Whether the gap is too small to say what share of it anything restores.
        thin: Whether too few documents can be judged.
        silent: Layers whose mixers do not declare what they mix locally.
    """

    layers: int
    shares: Mapping[ShareKey, np.ndarray]
    learned: np.ndarray
    faint: bool
    thin: bool
    silent: tuple[int, ...]

    def cut(self, layer: int, name: str) -> np.ndarray:
        """Share that a set restores at the input of a layer; 1 after the last layer."""
        if layer == self.layers:
            return np.ones(len(self.learned))
        return self.shares[STREAM, layer, RESTORE, name]

    def either(self, layer: int, name: str) -> np.ndarray:
        """The larger of the shares that a set restores and damages, without their signs.

        Both are at the input of a layer. A share below 0 counts by its size, too: positions whose
        clean vectors make the answer less likely hold something of the pair all the same.
        """
        damaged = self.shares[STREAM, layer, DAMAGE, name]
        return np.fmax(np.abs(self.cut(layer, name)), np.abs(damaged))

    def local(self, layer: int, name: str) -> np.ndarray:
        """Share that a set restores at a layer's local operations; 0 if it has none."""
        nothing = np.zeros(len(self.learned))
        return self.shares.get((LOCAL, layer, RESTORE, name), nothing)

    def unformed(self, layer: int) -> np.ndarray:
        """Share that a layer retrieves without a pair that its local operations have formed.

        It is the share restored by their outputs before the pair is complete; for a layer without
        local operations, all that it writes at the question.
        """
        if (LOCAL, layer, RESTORE, "loose") in self.shares:
            return self.local(layer, "loose")
        before = self.cut(layer, "question") if layer else 0.0
        return self.cut(layer + 1, "question") - before

    def read(self, layer: int, name: str = "pair") -> np.ndarray:
        """Share that is lost if a layer's question reads another document's tokens at a set."""
        return self.shares[READING, layer, WITHHOLD, name]

    def reads(self, layer: int, least: float | np.ndarray, most: float | np.ndarray) -> np.ndarray:
        """Whether a layer reads the pair, and not any pair.

        Args:
            layer: Layer.
            least: Share that is lost without the pair, at least.
            most: Share that is lost without a pair that is not asked, at most. Where no document
                has one, that is no evidence against it.
        """
        return (self.read(layer) > least) & ~(self.read(layer, UNINVOLVED) >= most)


@dataclasses.dataclass
class Cases:
    """Classes, layers and reasons so far; a settled case does not change any more.

    Attributes:
        verdict: [cases] Index in `CLASSES`.
        layer: [cases] Layer of the mechanism, -1 for none.
        reason: Step of the rule that settled the first case, with the layer of that step.
    """

    verdict: np.ndarray
    layer: np.ndarray
    reason: tuple[str, int] = ("", -1)

    def __post_init__(self):
        self._open = np.ones(len(self.verdict), bool)

    def settle(
        self,
        where: np.ndarray,
        name: str,
        reason: str,
        looked_at: int = -1,
        layer: int | np.ndarray = -1,
    ) -> None:
        """Give a class to the open cases in which a condition holds."""
        now = self._open & where
        self.verdict[now] = CLASSES.index(name)
        self.layer[now] = np.broadcast_to(layer, now.shape)[now]
        if now[0]:
            self.reason = (reason, looked_at)
        self._open &= ~now


def classify(facts: Facts, limits: Thresholds = Thresholds()) -> Cases:
    """Apply the rule to every case."""
    count, layers = len(facts.learned), facts.layers
    cases = Cases(np.full(count, UNDECIDED_INDEX), np.full(count, -1))
    everywhere, cuts = np.ones(count, bool), range(layers - 1, 0, -1)
    substantial, restored = limits.substantial, limits.restored
    cases.settle(~facts.learned, NOT_LEARNED, NOT_LEARNED)
    cases.settle(everywhere & facts.faint, UNDECIDED, "faint")
    cases.settle(everywhere & facts.thin, UNDECIDED, "thin")
    for layer in cuts:
        missed = ~(facts.cut(layer, "named") >= limits.named)
        cases.settle(missed, UNDECIDED, "unlocated", layer)

    # A cut at which the pair alone carries the answer: it was bound before, and is looked up here.
    for layer in cuts:
        alone = facts.cut(layer, "pair") > restored
        alone &= facts.either(layer, "elsewhere") < substantial
        looked_up = np.full(count, layers - 1)
        for later in range(layers - 1, layer - 1, -1):
            looked_up = np.where(facts.cut(later + 1, "question") > restored, later, looked_up)
        cases.settle(alone, "induction", "bound", layer, looked_up)
    # Two routes: an answer that is at the question after layer 0, or a pair that is not bound
    # before the last layer, is bound at no cut.
    for layer in cuts:
        both = (facts.cut(layer, "pair") > substantial) & (
            facts.cut(layer, "elsewhere") > substantial
        )
        unbound = facts.cut(1, "question") > substantial
        unbound |= facts.cut(layers - 1, "loose") > substantial
        cases.settle(both & (unbound | (layers == 2)), "mixed", "two_routes", layer, layer)
        cases.settle(both, UNDECIDED, "routes_unclear", layer)
    for layer in cuts:
        negligible = facts.either(layer, "pair") < substantial
        cases.settle(~negligible, UNDECIDED, "binding_unclear", layer)

    # At no cut does the pair carry the answer: it was not bound in one layer and looked up in
    # another. The first layer after which the question restores the answer has retrieved it, alone
    # or with those before. Inside a layer, a pair is formed by its local operations or not at all.
    convolved, raw = np.zeros(count), np.zeros(count)
    for layer in range(layers):
        here = facts.cut(layer + 1, "question") > restored
        if layer:
            source = facts.cut(layer, "elsewhere") > restored
            cases.settle(here & ~source, UNDECIDED, "source_unclear", layer)
        cases.settle(here & (layer in facts.silent), UNDECIDED, "silent", layer)
        convolved = np.fmax(convolved, facts.local(layer, "pair"))
        raw = np.fmax(raw, facts.unformed(layer))
        formed = facts.local(layer, "pair") > restored
        alone = formed & (raw < substantial)
        cases.settle(here & alone, "convolutional_binding", "convolved", layer, layer)
        both = (convolved > substantial) & (raw > substantial)
        cases.settle(here & both, "mixed", "two_routes_inside", layer, layer)
        cases.settle(here & ~(convolved < substantial), UNDECIDED, "convolution_unclear", layer)
        # Key and value may be read in two layers: the later one then completes the answer.
        shown = here & facts.reads(layer, substantial, substantial)
        for later in range(layers - 1, layer, -1):
            last = shown & facts.reads(later, restored, substantial)
            cases.settle(last, "direct_retrieval", "retrieved", later, later)
        cases.settle(shown, "direct_retrieval", "retrieved", layer, layer)
        cases.settle(here, UNDECIDED, "not_shown", layer)
    return cases
