"""The study's 30 findings, on tables that should pass, should fail and should abstain."""

import pytest

from mecheval_jax.study.cells import Cells
from mecheval_jax.study.findings.every import FINDINGS
from mecheval_jax.study.findings.treecall import EASY, HELD_OUT, LARGE, MEDIUM, SIBLINGS
from mecheval_jax.study.judgement import judge
from tests.support.study_world import INPUT, changed, world

NUMBERS = range(1, 31)
RECALL = {"task": "AR", "layers": 2}
VALUE, KEY, QUERY = (f"{INPUT}@{role}" for role in ("value", "key", "query"))
CONVOLVED = "block_0/mixer/conv_output"


@pytest.fixture(scope="module")
def true():
    return world()


def verdicts(table, findings=FINDINGS):
    return {one.finding: one.verdict for one in judge(Cells(table), findings)}


def case(where, **values):
    return lambda table: changed(table, where, **values)


def both(accuracy):
    return {"accuracy": accuracy, "dev_accuracy": accuracy}


FALSE = {
    # for each finding, a world in which it is false
    1: case(RECALL | {"mixer": "attention", "width": 64}, **both(0.6)),
    2: case(RECALL | {"mixer": "based", "width": 128, "option": ""}, **both(0.8)),
    3: case(RECALL | {"mixer": "hyena", "width": 64, "positions": "none"}, **both(0.9)),
    4: case(RECALL | {"mixer": "h3", "width": 256, "positions": "none"}, **both(0.2)),
    5: case(RECALL | {"mixer": "based", "width": 64, "seed": 0}, **{VALUE: 0.1}),
    6: case(RECALL | {"mixer": "mamba", "option": "", "width": 64}, **{VALUE: 0.9}),
    7: case(RECALL | {"mixer": "base_conv", "width": 256}, **{VALUE: 0.0}),
    8: case({"task": "AR", "layers": 1, "mixer": "mamba"}, **both(0.3)),
    9: case({"task": "AR", "layers": 3, "mixer": "attention", "width": 64}, **both(0.5)),
    10: case(RECALL | {"mixer": "attention"},
             **{"block_0/mixer_output@query": 1.0, "block_1/mixer_output@query": 0.0}),
    11: case(RECALL | {"mixer": "mamba", "option": "d_conv=1", "width": 64}, **both(0.8)),
    12: case(RECALL | {"mixer": "mamba", "option": "d_conv=2"}, **{QUERY: 1.2}),
    13: case(RECALL | {"mixer": "based", "option": "kernel=1", "width": 64}, **both(0.97)),
    14: case(RECALL | {"mixer": "attention", "positions": "none"}, **both(0.99)),
    15: case({"task": EASY, "layers": 2, "mixer": "mamba", "positions": "none", "option": ""},
             **both(0.7)),
    16: case({"task": MEDIUM, "mixer": "mamba"}, **both(0.6)),
    17: case({"task": LARGE, "mixer": "h3"}, **both(0.9)),
    18: case({"task": LARGE, "mixer": "mamba"}, **{VALUE: 0.9, KEY: 0.0, QUERY: 0.0}),
    19: case({"task": LARGE, "mixer": "mamba"}, **{KEY: 0.1, QUERY: 0.8}),
    20: case({"task": EASY, "layers": 1, "mixer": "based"}, **both(0.9)),
    21: case({"task": EASY, "mixer": "attention", "positions": "none", "width": 256}, **both(0.99)),
    22: case({"task": HELD_OUT, "mixer": "mamba"}, accuracy=0.95),
    23: case({"task": HELD_OUT, "mixer": "mamba", "split": "test"}, **{VALUE: 0.9}),
    24: case({"task": HELD_OUT, "mixer": "mamba"}, dev_accuracy=0.7),
    25: case({"task": SIBLINGS, "layers": 2, "mixer": "h3", "width": 64}, **both(0.5)),
    26: case({"task": "AR reverse", "mixer": "attention", "width": 256}, **both(0.99)),
    27: case(RECALL | {"mixer": "delta_net"}, **{QUERY: 0.0, VALUE: 1.0}),
    28: case(RECALL | {"mixer": "mamba", "option": ""}, **{f"{CONVOLVED}@next_key": 0.1}),
    29: case({"task": EASY, "mixer": "mamba", "option": "d_conv=0"}, **{VALUE: 0.0}),
    30: case({"mixer": ("attention", "based")}, **{VALUE: 0.0}),
}  # fmt: skip


def test_all_are_there():
    """Catches a finding that is left out, or counted twice."""
    assert [finding.number for finding in FINDINGS] == list(NUMBERS)
    assert set(FALSE) == set(NUMBERS)


def test_a_world_as_the_study_says(true):
    """Catches a finding that the study's own numbers contradict."""
    assert verdicts(true) == dict.fromkeys(NUMBERS, "reproduced")


def test_a_world_of_which_little_is_known():
    """Catches a judgement where intervals tell nothing; the world is the true one all the same."""
    assert verdicts(world(documents=8, half_width=3.0)) == dict.fromkeys(NUMBERS, "undecided")


@pytest.mark.parametrize("number", NUMBERS)
def test_made_false(true, number):
    """Catches a finding that ignores what it is about."""
    assert verdicts(FALSE[number](true), [FINDINGS[number - 1]])[number] == "not reproduced"


def test_nothing_was_run(true):
    """Catches an error, or a verdict, without results."""
    assert verdicts(true.iloc[:0]) == dict.fromkeys(NUMBERS, "not run")


def test_a_finding_made_false_with_few_documents_is_never_reproduced():
    """Catches verdicts that noise can turn: 320 documents, two seeds, wide intervals."""
    noisy = world(documents=320, half_width=0.1)
    for number in (1, 2, 5, 6, 8, 10, 11, 13, 18, 20, 28):
        assert verdicts(FALSE[number](noisy), [FINDINGS[number - 1]])[number] != "reproduced"
