"""The rule of the verdict, for intervals and for replicates alike; stated in `verdict`.

An attribution is a span [low, high]: the interval of an estimate, or one replicate of the
bootstrap with low = high. Statements about spans are arrays over however many there are, so that
the rule is written once: one span gives the verdict, thousands give the probability of each
class.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mecheval_jax.site_path import SitePath

RESTORED = 0.5
SUBSTANTIAL = 0.2
CLASSES = (
    "induction",
    "direct_retrieval",
    "convolutional_binding",
    "mixed",
    "not_learned",
    "undecided",
)


def label(name: str, layer: int | None) -> str:
    """A class with its layer: ``induction (layer 1)``."""
    return name if layer is None or layer < 0 else f"{name} (layer {layer})"


BOUND = ("value", "next_key")
"""Where a pair can be bound."""
ELSEWHERE = (("query", "key"), ("query",), ("key",))
"""Where the answer, or what leads to it, is otherwise."""


@dataclasses.dataclass(frozen=True)
class Span:
    """Attributions [cases], each known to lie between two ends; NaN where nothing is known."""

    low: np.ndarray
    high: np.ndarray

    @property
    def restores(self) -> np.ndarray:
        """Whether it certainly restores."""
        return self.low > RESTORED

    @property
    def may_restore(self) -> np.ndarray:
        """Whether it is not certain that it does not."""
        return ~(self.high <= RESTORED)

    @property
    def substantial(self) -> np.ndarray:
        """Whether it is certainly substantial."""
        return self.low > SUBSTANTIAL

    @property
    def negligible(self) -> np.ndarray:
        """Whether it is certainly negligible."""
        return self.high < SUBSTANTIAL


def strongest(spans: Sequence[Span]) -> Span:
    """The highest of several attributions; one of which nothing is known is left out."""
    low, high = (np.stack([getattr(span, end) for span in spans]) for end in ("low", "high"))
    return Span(np.fmax.reduce(low), np.fmax.reduce(high))


@dataclasses.dataclass(frozen=True)
class Spans:
    """Attributions of one run, or of several, as the rule reads them.

    Attributes:
        sites: Paths, those of a verdict.
        at: Function from a site and a role, or several together, to a span.
        learned: [cases] Whether the model answers above its floors, from the document.
        thin: Whether too few documents have a role.
    """

    sites: tuple[str, ...]
    at: Callable[..., Span]
    learned: np.ndarray
    thin: bool

    @property
    def layers(self) -> int:
        """Depth of the model."""
        return sum(SitePath.parse(site).component == "block_output" for site in self.sites)

    def bound(self, layer: int) -> Span:
        """At the value or the next key of a layer's input, whichever restores more."""
        site = SitePath(layer, "block_input").path
        return strongest([self.at(site, role) for role in BOUND])

    def elsewhere(self, layer: int) -> Span:
        """At the query and the key of a layer's input: their sum, or one alone if higher."""
        site = SitePath(layer, "block_input").path
        # The highest of the three: a negative one must not hide the other.
        return strongest([self.at(site, *roles) for roles in ELSEWHERE])

    def output(self, layer: int) -> Span:
        """At the query of a layer's output."""
        return self.at(SitePath(layer, "block_output").path, "query")

    def convolved(self, layer: int) -> Span:
        """Of a layer's convolution outputs, at the value or the next key, the highest."""
        return strongest([self.convolved_at((layer,), role) for role in BOUND])

    def convolved_at(self, layers: Iterable[int], role: str) -> Span:
        """Of the convolution outputs of some layers at a role, the highest; -inf without any."""
        sites = [site for layer in layers for site in convolutions_of(self.sites, layer)]
        nothing = np.full(len(self.learned), -np.inf)
        return strongest([Span(nothing, nothing), *(self.at(site, role) for site in sites)])


def convolutions_of(sites: Sequence[str], layer: int) -> list[str]:
    """Of the sites of a verdict, the convolution outputs of one layer."""
    stream = ("block_input", "block_output")
    places = ((site, SitePath.parse(site)) for site in sites)
    return [s for s, at in places if at.layer == layer and at.component not in stream]


@dataclasses.dataclass
class Cases:
    """Classes, layers and reasons so far; a case that is settled stays as it is.

    Attributes:
        verdict: [cases] Index in `CLASSES`.
        layer: [cases] Layer of the mechanism, -1 for none.
        reason: Step of the rule that settled the first case, with the layer it looked at.
    """

    verdict: np.ndarray
    layer: np.ndarray
    reason: tuple[str, int] = ("nothing_restores", -1)

    def __post_init__(self):
        self._open = np.ones(len(self.verdict), bool)

    def settle(
        self,
        where: np.ndarray,
        name: str,
        reason: str,
        looked_at: int,
        layer: int | np.ndarray = -1,
    ) -> None:
        """Give the open cases where a condition holds a class."""
        now = self._open & where
        self.verdict[now] = CLASSES.index(name)
        self.layer[now] = np.broadcast_to(layer, now.shape)[now]
        if now[0]:
            self.reason = (reason, looked_at)
        self._open &= ~now


def classify(spans: Spans) -> Cases:
    """Apply the rule to every case."""
    count = len(spans.learned)
    cases = Cases(np.full(count, CLASSES.index("undecided")), np.full(count, -1))
    cases.settle(~spans.learned, "not_learned", "not_learned", -1)
    cases.settle(np.full(count, spans.thin), "undecided", "thin", -1)
    inputs = range(1, spans.layers)
    bound = {layer: spans.bound(layer) for layer in inputs}
    elsewhere = {layer: spans.elsewhere(layer) for layer in inputs}
    outputs = [spans.output(layer) for layer in range(spans.layers)]

    for layer in inputs:
        restores, other = bound[layer].restores, elsewhere[layer]
        looked_up = np.full(count, layer)
        for later in reversed(range(layer, spans.layers)):
            looked_up = np.where(outputs[later].restores, later, looked_up)
        cases.settle(restores & other.substantial, "mixed", "two_routes", layer, layer)
        cases.settle(restores & other.negligible, "induction", "bound", layer, looked_up)
        cases.settle(restores, "undecided", "second_route_unclear", layer)
    for layer in inputs:
        both = bound[layer].substantial & elsewhere[layer].substantial
        cases.settle(both, "mixed", "two_routes", layer, layer)
    for layer in inputs:
        cases.settle(~bound[layer].negligible, "undecided", "binding_unclear", layer)
    for layer, output in enumerate(outputs):
        here, convolved = output.restores, spans.convolved(layer)
        # The last output at the query restores whatever the mechanism is: only the key and
        # the query of a later layer's input are evidence of delayed retrieval.
        if layer:
            cases.settle(here & ~elsewhere[layer].restores, "undecided", "source_unclear", layer)
        cases.settle(here & convolved.restores, "convolutional_binding", "convolved", layer, layer)
        cases.settle(here & convolved.may_restore, "undecided", "convolution_unclear", layer)
        cases.settle(here, "direct_retrieval", "retrieved", layer, layer)
    return cases
