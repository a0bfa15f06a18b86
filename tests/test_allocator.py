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


HEAPS = """
import ctypes
import tempfile
import threading
from mecheval_jax.allocator import ARENAS, keep_memory
if not keep_memory():
    print("other library")
    raise SystemExit
meet, library = threading.Barrier(3 * ARENAS), ctypes.CDLL(None)
library.fopen.restype, library.malloc.restype = ctypes.c_void_p, ctypes.c_void_p
def allocate():
    meet.wait()
    library.malloc(ctypes.c_size_t(5000))
    meet.wait()
threads = [threading.Thread(target=allocate) for _ in range(3 * ARENAS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with tempfile.NamedTemporaryFile("r") as file:
    stream = ctypes.c_void_p(library.fopen(file.name.encode(), b"w"))
    library.malloc_info(0, stream)
    library.fclose(stream)
    print(file.read().count("<heap nr="), ARENAS)
"""


def test_threads_have_more_than_one_arena_and_not_one_each():
    """Catches one arena for all threads, for which steps wait, and what each thread would keep."""
    program = [sys.executable, "-c", HEAPS]
    found = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    if "other" in found:
        pytest.skip("the C library is not the GNU one")
    arenas, most = map(int, found.split())
    assert 1 < arenas <= most
