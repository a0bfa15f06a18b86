"""The verdict: by which mechanism a model recalls, read from the residual stream.

Under key corruption, let V, Q and K be the attributions of restoring the input of layer l
(l >= 1) at the value (or next key, whichever is higher), at the query and at the key.

* V restores: the pair was bound in the context before layer l, which looks it up:
  ``induction``.
* V does not, at any layer: nothing is bound in the context. The answer is computed at
  the query, in the first layer whose output at the query restores: ``direct_retrieval``.
  It is delayed when the key token still carries what is needed (K) at later layers.
* both routes carry a substantial part at the same layer: ``mixed``.

An attribution restores if its interval lies above `RESTORED`, is substantial if it lies
above `SUBSTANTIAL`, negligible if it lies below that, and undetermined otherwise: a
verdict that would need one of those is ``undecided``. A model whose accuracy does not lie
above the best heuristic of its task, or whose answers do not depend on the key, has
``not_learned``; no mechanism is named then.
"""

import dataclasses
from typing import Any

import numpy as np

from mecheval_jax.evaluation.attribution import SMALLEST_GAP, Estimate, Scores

RESTORED = 0.5
SUBSTANTIAL = 0.2
CORRUPTION = "key"
ROLES = ("key", "value", "next_key", "query")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A class and what it rests on.

    Attributes:
        verdict: ``induction``, ``direct_retrieval``, ``mixed``, ``not_learned`` or
            ``undecided``.
        layer: for induction the layer that looks up (from the first whose input restores
            at the value on, the first whose output restores at the query), for direct
            retrieval the layer that retrieves, for mixed the layer whose input was read.
        binding: where in the mixer the pair is formed; None, since sites inside the
            mixers are not read yet.
        reason: one sentence.
        evidence: attribution with interval at each site the rule looks at.
    """

    verdict: str
    layer: int | None
    binding: str | None
    reason: str
    evidence: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for ``summary.json``."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class _Reading:
    """An attribution and what its interval says of it."""

    value: float
    low: float
    high: float

    @property
    def restored(self) -> bool:
        return self.low > RESTORED

    @property
    def substantial(self) -> bool:
        return self.low > SUBSTANTIAL

    @property
    def negligible(self) -> bool:
        return self.high < SUBSTANTIAL

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def judge(scores: Scores, layers: int, accuracy_low: float, floor: float) -> Verdict:
    """The verdict on one run.

    Args:
        scores: of a grid with the residual stream, the corruption ``key`` and the roles
            key, value and query (next_key where the task has it).
        layers: depth of the model.
        accuracy_low: lower end of the accuracy's interval.
        floor: accuracy of the best heuristic without recall.
    """
    reader = _Reader(scores)
    evidence = reader.evidence(layers)
    gap = reader.gap()
    verdict = _decide(reader, layers, accuracy_low, floor, gap)
    numbers = {
        "accuracy_low": accuracy_low,
        "floor": floor,
        "gap": gap.value,
        "attributions": evidence,
    }
    return dataclasses.replace(verdict, evidence=numbers)


def _decide(reader, layers: int, accuracy_low: float, floor: float, gap: Estimate) -> Verdict:
    def verdict(name, layer, reason):
        return Verdict(name, layer, None, reason, {})

    if not accuracy_low > floor:
        return verdict(
            "not_learned",
            None,
            f"accuracy is at least {accuracy_low:.1%} only, the best heuristic without recall "
            f"reaches {floor:.1%}",
        )
    if not gap.value > SMALLEST_GAP:
        return verdict(
            "not_learned",
            None,
            f"corrupting the key changes the answer's probability by {gap.value:.3f} only: "
            "the answer is not read from the document",
        )
    bound = {layer: reader.bound(layer) for layer in range(1, layers)}

    def mixed(layer):
        return verdict(
            "mixed",
            layer,
            f"the input of layer {layer} restores {bound[layer]} at the value and "
            f"{reader.elsewhere(layer)} at the key and the query",
        )

    inducing = [layer for layer, reading in bound.items() if reading.restored]
    if inducing:
        layer = inducing[0]
        if reader.elsewhere(layer).substantial:
            return mixed(layer)
        outputs = {i: reader.at(f"block_{i}/block_output", "query") for i in range(layer, layers)}
        return verdict(
            "induction",
            next((i for i, output in outputs.items() if output.restored), layer),
            f"the input of layer {layer} restores {bound[layer]} at the value: the pair is "
            "bound in the context and looked up",
        )
    for layer, reading in bound.items():
        if reading.substantial and reader.elsewhere(layer).substantial:
            return mixed(layer)
    unclear = [layer for layer, reading in bound.items() if not reading.negligible]
    if unclear:
        layer = unclear[0]
        return verdict(
            "undecided",
            None,
            f"the input of layer {layer} restores {bound[layer]} at the value: neither enough "
            "for induction nor too little",
        )
    for layer in range(layers):
        output = reader.at(f"block_{layer}/block_output", "query")
        if output.restored:
            # The last output at the query restores whatever the mechanism is: only the
            # key and the query of a later layer's input are evidence of delayed retrieval.
            if layer and not reader.elsewhere(layer).restored:
                return verdict(
                    "undecided",
                    None,
                    f"no layer's input restores at the value, and that of layer {layer} "
                    f"restores {reader.elsewhere(layer)} at the key and the query: the answer "
                    "comes from elsewhere",
                )
            return verdict(
                "direct_retrieval",
                layer,
                f"no layer's input restores at the value; the output of layer {layer} at the "
                f"query restores {output}" + (", delayed: " + reader.delay(layer) if layer else ""),
            )
    return verdict("undecided", None, "no layer's output at the query restores the answer")


class _Reader:
    """Attributions of the residual stream under key corruption."""

    def __init__(self, scores: Scores):
        self._scores = scores
        self._roles = [role for role in ROLES if role in scores.grid.roles]

    def _estimate(self, site: str, role: str) -> Estimate:
        return self._scores.cell(site, "restore", CORRUPTION, role)["attribution"]

    def _reading(self, estimate: Estimate) -> _Reading:
        if np.isnan(estimate.value):
            return _Reading(np.nan, np.nan, np.nan)
        return _Reading(estimate.value, *estimate.interval(self._scores.evaluation.confidence))

    def at(self, site: str, role: str) -> _Reading:
        return self._reading(self._estimate(site, role))

    def bound(self, layer: int) -> _Reading:
        """At the value or the next key of a layer's input, whichever restores more."""
        site = f"block_{layer}/block_input"
        places = [role for role in ("value", "next_key") if role in self._roles]
        readings = [self.at(site, role) for role in places]
        known = [reading for reading in readings if not np.isnan(reading.value)]
        if not known:
            return _Reading(np.nan, np.nan, np.nan)
        return max(known, key=lambda reading: reading.low)

    def elsewhere(self, layer: int) -> _Reading:
        """At the query and the key of a layer's input: their sum, or one alone if higher."""
        site = f"block_{layer}/block_input"
        query, key = self._estimate(site, "query"), self._estimate(site, "key")
        total = Estimate(query.value + key.value, query.samples + key.samples, query.documents)
        # The larger of the three: a negative one must not hide the other.
        return max(map(self._reading, (total, query, key)), key=lambda reading: reading.low)

    def delay(self, layer: int) -> str:
        """What the key token still carries into the layer that retrieves."""
        carried = self.at(f"block_{layer}/block_input", "key")
        return f"the input of layer {layer} at the key restores {carried}"

    def gap(self) -> Estimate:
        """p(o) - p(c) over all documents."""
        grid = self._scores.grid
        c = grid.corruptions.index(CORRUPTION)
        clean, corrupted = grid.runs["probability"][0], grid.runs["probability"][1 + c]
        return self._scores.mean(clean - corrupted, np.ones(len(clean), bool))

    def evidence(self, layers: int) -> list[dict[str, Any]]:
        """Attribution at the residual stream, the numbers that the verdict rests on."""
        sites = [f"block_{layer}/block_input" for layer in range(1, layers)]
        outputs = [f"block_{layer}/block_output" for layer in range(layers)]
        places = [(site, role) for site in sites for role in self._roles]
        places += [(site, "query") for site in outputs]
        readings = [(site, role, self.at(site, role)) for site, role in places]
        return [
            {
                "site": site,
                "role": role,
                **{
                    name: None if np.isnan(number) else number
                    for name, number in dataclasses.asdict(reading).items()
                },
            }
            for site, role, reading in readings
        ]
