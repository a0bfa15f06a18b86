"""Which tests are left out where time is short."""

import re

from tests.support.compilation import ROOT
from tests.support.mixer_cases import CASES
from tools import long_tests

LOG = """
============ slowest durations ============
12.00s setup    tests/evaluation/test_a.py::test_one[case 1]
0.20s call     tests/evaluation/test_a.py::test_one[case 2]
0.70s call     tests/evaluation/test_a.py::Algebra::test_two__with_jit
1.60s call     tests/evaluation/test_a.py::Algebra::test_two__without_jit
0.90s call     tests/evaluation/test_a.py::test_three
9.00s call     tests/mixers/test_mixers.py::test_causality[mamba]
(5 durations < 0.005s hidden.)
"""


def test_names_from_a_log():
    """Catches a case that is named without its function, and one that is never to be left out."""
    many = "".join(f"0.90s call tests/test_b.py::test_many[{i}]\n" for i in range(10))
    assert long_tests.long_functions((LOG + many).splitlines()) == [
        "evaluation/test_a.py::Algebra::test_two",
        "evaluation/test_a.py::test_one",
        "test_b.py::test_many",
    ]


def test_every_name_is_a_test():
    """Catches a test that was renamed and is quick by mistake."""
    names = long_tests.FILE.read_text().split()
    assert names == sorted(set(names))
    for name in names:
        path, *_, function = name.split("::")
        defined = re.findall(r"def (test_\w+)\(", (ROOT / "tests" / path).read_text())
        # Each case of a test in a class has the name of the case behind the test's.
        cases = {f"{test}_{case}" for test in defined for case in CASES}
        assert function in {*defined, *cases}, name
