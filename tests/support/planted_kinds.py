"""Every kind of model whose mechanism is known, and what a verdict has to say of it.

Mechanisms, heuristics without recall, and new models that have learned nothing. Kinds that stand
one after another have one shape, whose program is compiled once.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from mecheval_jax.evaluation.verdict.verdict import Verdict, judge
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from tests.support import planted, planted_canon, planted_order, planted_places
from tests.support.planted_heuristics import HEURISTICS, heuristic

LONG = planted.task_with(filler=8, filler_vocabulary=4)
QUERIES = MultiQueryRecall(vocabulary=28, lengths=(26,), pairs=(5,), power=1.0, noise=False)
VOCABULARIES = [
    planted.task_with(key_vocabulary=keys, value_vocabulary=values)
    for keys, values in ((8, 8), (7, 5))
]
"""Tasks of the kinds that can be planted in any of them; every seed takes the next one."""

RIGHT, ABSTAINED, WRONG = "right", "abstained", "wrong"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of model.

    Attributes:
        build: Function from a seed, and for those that `varies` a task, to a model.
        verdict: Its class.
        layer: Layer of the mechanism; None where it is in none, or in several.
        binding: Where a convolution forms the pair; None where no mechanism is named.
        varies: Whether its task may have any of `VOCABULARIES`.
        documents: Documents that it is judged on; more where it answers some of them only.
    """

    build: Callable[..., planted.Planted]
    verdict: str
    layer: int | None = None
    binding: str | None = "none"
    varies: bool = False
    documents: int = planted.EVALUATION.documents

    def model(self, seed: int) -> planted.Planted:
        """The model with a seed."""
        if self.varies:
            return self.build(seed, task=VOCABULARIES[seed % len(VOCABULARIES)])
        return self.build(seed)

    def judge(self, seed: int) -> Verdict:
        """The verdict on the model with a seed, on documents of its own."""
        model = self.model(seed)
        batch = planted.documents(model[2], self.documents, 1000 + seed)
        return judge(planted.evidence_of(model, batch), planted.EVALUATION)

    def grade(self, found: Verdict) -> str:
        """Whether a verdict names the mechanism, names none, or names another one.

        Another layer is another mechanism, and so is another place at which it is bound.
        """
        if found.verdict == "undecided":
            return ABSTAINED
        same = found.verdict == self.verdict and self.layer in (None, found.layer)
        if same and found.binding == "undecided":
            return ABSTAINED
        return RIGHT if same and found.binding == self.binding else WRONG


def _convolution(layer: int, binding: str, **options: Any) -> Kind:
    """A convolution that forms the pair; one with a task of its own has that alone."""
    build = functools.partial(planted.convolution, layer=layer, **options)
    varies = "task" not in options
    return Kind(build, "convolutional_binding", layer, f"convolution_at_{binding}", varies)


MECHANISMS = {
    "induction": Kind(planted.induction, "induction", 1, varies=True),
    "direct": Kind(planted.direct_retrieval, "direct_retrieval", 0, varies=True),
    "delayed": Kind(planted.delayed_retrieval, "direct_retrieval", 1, varies=True),
    "over two layers": Kind(planted_places.over_two_layers, "direct_retrieval", varies=True),
    "pointer": Kind(planted_places.pointer, "direct_retrieval", 1, varies=True),
    "mixture": Kind(planted.mixture, "mixed", 1, varies=True),
    "split storage": Kind(planted_places.split_storage, "induction", 1, varies=True),
    "three layers, early": Kind(planted_places.early, "induction", 1, varies=True),
    "three layers, late": Kind(planted_places.late, "induction", 2, varies=True),
    "three layers, both": Kind(planted_places.early_and_late, "induction", 2, varies=True),
    "self-repair": Kind(planted_places.self_repair, "mixed", 1, varies=True),
    "reverse": Kind(planted_places.reversed_induction, "induction", 1),
    "child": Kind(planted_order.child, "induction", 1),
    "heads on the left": Kind(planted_order.left_heads, "induction", 1),
    "sibling": Kind(planted_order.sibling, "induction", 1, documents=192),
    "own documents, value first": Kind(planted_order.own_documents, "induction", 1),
    "at value": _convolution(0, "value", d_conv=4),
    "at next key": _convolution(0, "next_key", d_conv=4, later=1),
    "at value+2": _convolution(0, "value+2", d_conv=4, later=2),
    "at value+2, layer 1": _convolution(1, "value+2", d_conv=4, later=2),
    "two taps": _convolution(0, "value"),
    "MQAR, value+2": _convolution(0, "value+2", d_conv=4, later=2, task=QUERIES),
    "MQAR, value+2, layer 1": _convolution(1, "value+2", d_conv=4, later=2, task=QUERIES),
    "reach 6": _convolution(0, "pair", d_conv=7, later=5, task=LONG),
    "reach 16": dataclasses.replace(
        _convolution(0, "pair", d_conv=17, later=15, task=LONG), documents=192
    ),
    "token shift": Kind(
        planted_places.shift, "convolutional_binding", 0, "convolution_at_value", varies=True
    ),
    "canon": Kind(
        planted_canon.canon_attention, "convolutional_binding", 0, "convolution_at_value",
        varies=True,
    ),
}  # fmt: skip
"""Models that recall, by the name of what is planted."""

UNTRAINED = ("attention", "base_conv", "based", "hyena", "mamba", "rwkv4", "gated_delta_net")


def _unlearned(build: Callable[..., planted.Planted]) -> Kind:
    return Kind(build, "not_learned", binding=None)


KINDS = (
    MECHANISMS
    | {
        f"heuristic: {name}": _unlearned(functools.partial(heuristic, name=name))
        for name in HEURISTICS
    }
    | {
        f"untrained: {mixer}": _unlearned(functools.partial(planted.untrained, mixer))
        for mixer in UNTRAINED
    }
)
"""All of them."""
