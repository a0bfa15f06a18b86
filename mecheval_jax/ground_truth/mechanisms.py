"""Mechanisms to which a model of two layers can be trained: what each place must carry.

A mechanism is told by interchange: at a place of the model (`evaluation.verdict.places`), clean
activations at a set of positions (`tasks.geometry`) bring the answer back into the corrupted run,
or they must not.

    induction                the input of layer 1 at the pair carries the answer, everything
                             that cannot hold the pair does not
    direct_retrieval         the input of layer 1 at the question carries it, the pair does not, nor
                             do local operations of layer 0 at the pair
    convolutional_binding    as there, but the outputs of layer 0's local operations at the pair
                             carry it, and before the pair is complete they do not
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.verdict.places import LOCAL, STREAM, Place, places_of
from mecheval_jax.models.language_model import ModelConfig

INDUCTION, DIRECT, CONVOLUTION = "induction", "direct_retrieval", "convolutional_binding"


@dataclasses.dataclass(frozen=True)
class Rule:
    """What one set of positions at one place must carry.

    Attributes:
        kind: `STREAM` or `LOCAL`.
        layer: Layer of the place.
        positions: Name of the set of positions.
        carries: Whether it carries the answer.
    """

    kind: str
    layer: int
    positions: str
    carries: bool


_RETRIEVED = (Rule(STREAM, 1, "question", True), Rule(STREAM, 1, "pair", False))

MECHANISMS: Mapping[str, tuple[Rule, ...]] = MappingProxyType(
    {
        INDUCTION: (Rule(STREAM, 1, "pair", True), Rule(STREAM, 1, "elsewhere", False)),
        DIRECT: (*_RETRIEVED, Rule(LOCAL, 0, "pair", False)),
        CONVOLUTION: (*_RETRIEVED, Rule(LOCAL, 0, "pair", True), Rule(LOCAL, 0, "loose", False)),
    }
)
"""Rules by the name of the mechanism, which is that of its verdict."""


def rules_of(config: ModelConfig, mechanism: str, length: int) -> tuple[tuple[Rule, Place], ...]:
    """The rules of a mechanism that a model has places for, with these.

    Args:
        config: Shape of the model.
        mechanism: Name in `MECHANISMS`.
        length: Number of tokens of a usual document (`Task.usual_length`).

    Raises:
        UserError: If there is no such mechanism, or the architecture cannot hold it.
    """
    choose("mechanism", mechanism, MECHANISMS)
    if config.layers != 2:
        why = "binds in one layer and looks up in a later one" if mechanism == INDUCTION else ""
        told = f": {mechanism} {why}" if why else ""
        raise UserError(
            f"{config.layers} layers of {config.mixer} cannot be trained to {mechanism}: the rules "
            f"are those of 2 layers{told}"
        )
    places = {(place.kind, place.layer): place for place in places_of(config, length)}
    if mechanism == CONVOLUTION and (LOCAL, 0) not in places:
        raise UserError(
            f"{config.mixer} cannot be trained to {mechanism}: layer 0 has no local operation "
            "(convolution, shift) that could join a pair; model.canon=4 adds one"
        )
    rules = MECHANISMS[mechanism]
    return tuple(
        (rule, places[rule.kind, rule.layer]) for rule in rules if (rule.kind, rule.layer) in places
    )
