"""Rules of mechanisms: which places a model has for them, and which models cannot hold one."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.verdict.places import LOCAL, STREAM
from mecheval_jax.evaluation.verdict.rule import CLASSES
from mecheval_jax.ground_truth.mechanisms import MECHANISMS, rules_of
from tests.support import planted

LENGTH = planted.TASK.usual_length


def test_rules_have_the_places_of_the_verdict():
    """Catches a rule that is looked up in the wrong layer, and mechanisms no verdict names."""
    assert set(MECHANISMS) <= set(CLASSES)
    config = planted.shape_of("mamba")
    for name, kinds in (
        ("induction", [(STREAM, 1, "pair", True), (STREAM, 1, "elsewhere", False)]),
        (
            "convolutional_binding",
            [
                (STREAM, 1, "question", True),
                (STREAM, 1, "pair", False),
                (LOCAL, 0, "pair", True),
                (LOCAL, 0, "loose", False),
            ],
        ),
    ):
        rules = rules_of(config, name, LENGTH)
        assert [(r.kind, r.layer, r.positions, r.carries) for r, _ in rules] == kinds
        assert all((place.kind, place.layer) == (r.kind, r.layer) for r, place in rules)
    attention = rules_of(planted.shape_of("attention"), "direct_retrieval", LENGTH)
    assert [rule.kind for rule, _ in attention] == [STREAM, STREAM]


@pytest.mark.parametrize(
    ("config", "mechanism", "message"),
    [
        (("attention", 1), "induction", r"1 layers of attention cannot .* binds in one layer"),
        (("mamba", 3), "convolutional_binding", r"3 layers of mamba cannot be trained"),
        (("attention", 2), "convolutional_binding", r"layer 0 has no local operation"),
        (("mamba", 2), "recall", r"unknown mechanism 'recall'"),
    ],
)
def test_what_cannot_be_held_is_refused(config, mechanism, message):
    """Catches hours of training to what an architecture cannot do."""
    mixer, layers = config
    with pytest.raises(UserError, match=message):
        rules_of(planted.shape_of(mixer, layers=layers), mechanism, LENGTH)
