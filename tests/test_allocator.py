"""Freed memory is kept, and not fetched from the system again."""

import ctypes
import subprocess
import sys

import pytest

from mecheval_jax.allocator import keep_memory

FAULTS = """
import resource
import threading
import numpy as np
from mecheval_jax.allocator import keep_memory
if {keep} and not keep_memory():
    print("other library")
    raise SystemExit
def allocate():
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [np.ones({size}) for _ in range({blocks})]
        del blocks
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
if {thread}:
    worker = threading.Thread(target=allocate)
    worker.start()
    worker.join()
else:
    allocate()
"""


def faults(keep, size=8_000_000, blocks=1, thread=False):
    """Pages fetched while blocks of `size` numbers are written, the first and the second time."""
    return printed(FAULTS.format(keep=keep, size=size, blocks=blocks, thread=thread))


def printed(text):
    """The numbers that a program in a process of its own prints."""
    program = [sys.executable, "-c", text]
    found = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    if "other" in found:
        pytest.skip("the C library is not the GNU one")
    return [int(line) for line in found.split()]


def test_a_block_is_used_again():
    """Catches parameters of other names, and a call that changes nothing."""
    first, second = faults(keep=True)
    assert second < first / 100


def test_a_thread_uses_its_blocks_again():
    """Catches a part of an arena that is given back when all of it is free."""
    first, second = faults(keep=True, size=5_000_000, blocks=2, thread=True)
    assert second < first / 100


def test_otherwise_it_is_not():
    """Catches a test that sees nothing."""
    first, second = faults(keep=False)
    assert second > first / 2


HEAPS = """
import ctypes
import tempfile
import threading
from mecheval_jax import allocator
allocator.ARENAS = 3
if not allocator.keep_memory():
    print("other library")
    raise SystemExit
THREADS = 8
meet, library = threading.Barrier(THREADS), ctypes.CDLL(None)
library.fopen.restype, library.malloc.restype = ctypes.c_void_p, ctypes.c_void_p
def allocate():
    meet.wait()
    library.malloc(ctypes.c_size_t(5000))
    meet.wait()
threads = [threading.Thread(target=allocate) for _ in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with tempfile.NamedTemporaryFile("r") as file:
    stream = ctypes.c_void_p(library.fopen(file.name.encode(), b"w"))
    library.malloc_info(0, stream)
    library.fclose(stream)
    print(file.read().count("<heap nr="))
"""


def test_threads_share_as_many_arenas_as_there_may_be():
    """Catches one arena for all threads, for which steps wait, and one for each of them."""
    assert printed(HEAPS) == [3]


def test_another_system_is_left_alone(monkeypatch):
    """Catches a program that fails on Windows, where no library is called None."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", None)
    assert not keep_memory.__wrapped__()
