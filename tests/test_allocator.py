"""Freed memory is kept, and not fetched from the system again."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from mecheval_jax.allocator import keep_memory
if {keep} and not keep_memory():
    print("other library")
    raise SystemExit
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = np.ones(8_000_000)
    del block
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep):
    """Pages fetched while a block of 64 MB is written, the first and the second time."""
    program = [sys.executable, "-c", FAULTS.format(keep=keep)]
    found = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    if "other" in found:
        pytest.skip("the C library is not the GNU one")
    return [int(line) for line in found.split()]


def test_a_block_is_used_again():
    """Catches parameters of other names, and a call that changes nothing."""
    first, second = faults(keep=True)
    assert second < first / 100


def test_otherwise_it_is_not():
    """Catches a test that sees nothing."""
    first, second = faults(keep=False)
    assert second > first / 2
