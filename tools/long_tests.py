"""Name the tests that take seconds, in tests/long_tests.txt, from what a run of all of them took.

    bash tests/run.sh -m 'not slow' --durations=0 > LOG
    python -m tools.long_tests < LOG

The quick part of the suite leaves them out. A test function is long if one of its cases takes
`LONGEST_CASE` seconds, or all of them together `LONGEST_SUM`. Those in `QUICK` never are: whoever
changes a mixer wants to hear at once that it looks into the future or computes something else.
"""

import collections
import pathlib
import re
import sys
from collections.abc import Iterable

from mecheval_jax.files import write_text

LONGEST_CASE, LONGEST_SUM = 1.0, 8.0

QUICK = ("mixers/test_mixers.py::test_causality",)
QUICK += ("mixers/test_golden_mixers.py::test_output_and_gradient",)

FILE = pathlib.Path(__file__).parents[1] / "tests" / "long_tests.txt"


def function_of(name: str) -> str:
    """The function of a test, by pytest's name of the test: without ``tests/`` and the case."""
    return re.split(r"\[|__with", name.removeprefix("tests/"))[0]


def long_functions(lines: Iterable[str]) -> list[str]:
    """The names of long functions, sorted, from pytest's list of durations."""
    seconds: dict[str, list[float]] = collections.defaultdict(list)
    for line in lines:
        if found := re.match(r"\s*([\d.]+)s (?:call|setup|teardown)\s+(\S+)", line):
            seconds[function_of(found[2])].append(float(found[1]))
    return sorted(
        name
        for name, each in seconds.items()
        if name not in QUICK and (max(each) >= LONGEST_CASE or sum(each) >= LONGEST_SUM)
    )


if __name__ == "__main__":
    found = long_functions(sys.stdin)
    if not found:
        sys.exit("error: no durations of long tests are in what was read: is it pytest's output?")
    write_text(FILE, "\n".join([*found, ""]))
