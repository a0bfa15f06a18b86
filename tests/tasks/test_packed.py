"""Documents that are packed on the host, and padded to buckets."""

import dataclasses

import chex
import jax
import numpy as np

from mecheval_jax.tasks.packed import bucket, concatenate
from tests.support.treecall_cases import VARIANTS, drawn

# Lengths -------------------------------------------------------------------------------------


def test_buckets():
    """Catches a bucket that is too short, or longer than the limit."""
    assert [bucket(n, 1030) for n in (8, 16, 17, 64, 65, 513, 1030)] == [
        16, 16, 32, 64, 128, 1024, 1030
    ]  # fmt: skip


def test_the_usual_length():
    """Catches the limit of lengths taken for a length that documents have, and a random key that
    is traced where a compiled program asks."""
    task = VARIANTS["medium"]
    lengths = drawn(task, 500).lengths
    inside = jax.jit(lambda: dataclasses.replace(task).usual_length)
    assert 0.4 < (lengths <= task.usual_length).mean() < 0.6
    assert int(inside()) == task.usual_length < task.read_length / 9


def test_packed_documents_come_back_whole():
    """Catches starts that are not shifted in slices, and rows that are not carried along."""
    packed = drawn(VARIANTS["medium"], 60)
    whole = packed.batch(2000)
    for first, stop in ((0, 7), (7, 30), (30, 60)):
        part = packed[first:stop].batch(2000)
        width = part.tokens.shape[1]
        assert width == bucket(int(packed.lengths[first:stop].max()), 2000)
        np.testing.assert_array_equal(part.tokens, whole.tokens[first:stop, :width])
        assert not np.asarray(whole.tokens[first:stop, width:]).any()
        for name in whole.roles:
            np.testing.assert_array_equal(part.roles[name], whole.roles[name][first:stop])
    again = concatenate([packed[:7], packed[7:30], packed[30:]])
    chex.assert_trees_all_equal(dataclasses.asdict(again), dataclasses.asdict(packed))
