"""Which documents a step sees; documents that hosts draw, each its own rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from mecheval_jax.tasks.base import SPLITS
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.tasks.treecall.treecall import Treecall
from mecheval_jax.training import data
from mecheval_jax.training.data import (
    BLOCK,
    HostDocuments,
    evaluation_batch,
    part_sizes,
    stream,
    training_batch,
)
from mecheval_jax.training.replay import Replay
from tests.support import small

TASK = AssociativeRecall(pairs=2, key_vocabulary=8, value_vocabulary=8)


@functools.partial(jax.jit, static_argnums=1)
def batch_of_step(step, training_batches, key=0):
    return training_batch(TASK, jax.random.key(key), jnp.asarray(step), 4, Replay(training_batches))


def test_fixed_set_is_replayed():
    """Catches a set that is shuffled, drawn anew in the second epoch, or of another size."""
    epoch = [batch_of_step(step, 3) for step in range(3)]
    for step in range(3):
        small.assert_same_bits(batch_of_step(step + 3, 3), epoch[step])
        small.assert_same_bits(batch_of_step(step + 300, 3), epoch[step])
        # It is the beginning of the endless stream.
        small.assert_same_bits(batch_of_step(step, None), epoch[step])
    assert len({np.asarray(batch.tokens).tobytes() for batch in epoch}) == 3


def test_a_shuffled_set_comes_whole_in_another_order():
    """Catches a set that loses batches when it is shuffled, and an order that stays."""
    draw = jax.jit(
        lambda step: training_batch(TASK, jax.random.key(0), step, 4, Replay(9, shuffle=True))
    )
    fixed = [np.asarray(batch_of_step(step, 9).tokens).tobytes() for step in range(9)]
    epochs = [
        [np.asarray(draw(jnp.asarray(step)).tokens).tobytes() for step in range(first, first + 9)]
        for first in (0, 9, 18)
    ]
    for order in epochs:
        assert sorted(order) == sorted(fixed)
    assert len({tuple(order) for order in [fixed, *epochs]}) == 4


def test_fresh_documents_never_return():
    """Catches a key that is not folded with the step."""
    tokens = [np.asarray(batch_of_step(step, None).tokens).tobytes() for step in range(30)]
    assert len(set(tokens)) == 30
    assert np.asarray(batch_of_step(0, None, key=1).tokens).tobytes() not in tokens


def test_splits_are_separate_streams():
    """Catches evaluation on documents of the training set, or on those of another split."""
    key = jax.random.key(0)
    assert len({jax.random.key_data(stream(key, s)).tobytes() for s in SPLITS}) == 3
    of_split = jax.jit(lambda split: evaluation_batch(TASK, 0, 4, split), static_argnums=0)
    drawn = [np.asarray(of_split(split).tokens) for split in SPLITS]
    drawn += [np.asarray(batch_of_step(step, None).tokens) for step in range(4)]
    assert len({tokens.tobytes() for tokens in drawn}) == len(drawn)


TREECALL = Treecall(longest=30)


KEY = jax.random.key(3)


class Rows(SingleDeviceSharding):
    """Where this process holds some rows of a batch, and others the rest."""

    def __init__(self, first, stop):
        super().__init__(jax.devices()[0])
        self._span = slice(first, stop)

    def addressable_devices_indices_map(self, global_shape):
        del global_shape
        return {jax.devices()[0]: (self._span,)}


def texts(packed):
    """Documents as they are, row by row."""
    return [
        tuple(packed.tokens[first:stop].tolist())
        for first, stop in zip(packed.starts, packed.starts[1:], strict=False)
    ]


@pytest.fixture
def drawn(monkeypatch):
    """The lanes that were drawn, in order."""
    lanes, draw = [], Treecall.draw_lane

    def noted(self, key, count, split, lane, lanes_in_all):
        lanes.append(lane)
        return draw(self, key, count, split, lane, lanes_in_all)

    monkeypatch.setattr(Treecall, "draw_lane", noted)
    return lanes


# Catches documents that depend on the number of hosts, and a host that draws those of others.
@pytest.mark.parametrize(
    ("batch_size", "hosts", "each"), [(16, 2, 4), (16, 8, 1), (16, 16, 1), (12, 3, 2), (7, 1, 1)]
)
def test_every_host_draws_its_own_rows(drawn, batch_size, hosts, each):
    lanes = np.gcd(8, batch_size)
    whole = np.array(
        texts(HostDocuments(TREECALL, KEY, batch_size)._block(0).documents), dtype=object
    )
    batches = whole.reshape(lanes, BLOCK, -1).swapaxes(0, 1).reshape(BLOCK, batch_size)
    rows = batch_size // hosts
    for host in range(hosts):
        del drawn[:]
        first = host * rows
        own = HostDocuments(TREECALL, KEY, batch_size, sharding=Rows(first, first + rows))
        block = own._block(0)
        assert len(drawn) == each
        found = np.array(texts(block.documents), dtype=object)[block.order.reshape(BLOCK, rows)]
        for ours, theirs in zip(found, batches[:, first : first + rows], strict=True):
            assert list(ours) == sorted(theirs, key=len)


def documents_of(parts):
    """Documents without their padding, part after part."""
    return [
        tuple(row[:length])
        for part in parts
        for row, length in zip(part["tokens"].tolist(), part["lengths"].tolist(), strict=True)
    ]


def width_of(documents):
    """The bucket of the longest."""
    return min(width for width in (16, 32, 36) if width >= max(map(len, documents)))


def test_parts_are_what_the_lanes_say():
    """Catches lanes in another order, rows of another batch, and a part that is padded too far."""
    documents = HostDocuments(TREECALL, KEY, 16)
    key = jax.random.fold_in(stream(KEY, "train"), 1)
    lanes = [texts(TREECALL.draw_lane(key, BLOCK * 16, "train", lane, 8)) for lane in range(8)]
    seen = set()
    for place in (0, 5, BLOCK - 1):
        drawn = [text for lane in lanes for text in lane[2 * place : 2 * place + 2]]
        expected = sorted(drawn, key=len)
        parts = documents.parts(BLOCK + place)
        assert documents_of(parts) == expected
        # Of the sixteen eight, four and four, of which those of one width are one part.
        cut = [expected[:8], expected[8:12], expected[12:]]
        widths = [width_of(part) for part in cut]
        assert [part["tokens"].shape[1] for part in parts] == list(dict.fromkeys(widths))
        assert documents.longest(BLOCK + place).tolist() == [len(part[-1]) for part in cut]
        seen.add(tuple(widths))
    assert len(seen) > 1
    # Members of one program need parts of one shape, those of the longest.
    wide = documents.parts(BLOCK, np.array([16, 17, 33]))
    assert [part["tokens"].shape for part in wide] == [(8, 16), (4, 32), (4, 36)]
    assert documents_of(wide) == documents_of(documents.parts(BLOCK))


def test_sizes_of_parts():
    """Catches parts that micro-batches do not divide, and batches too small to be cut."""
    assert part_sizes(32) == (16, 8, 8)
    assert part_sizes(32, unit=2) == (16, 8, 8)
    assert part_sizes(32, unit=3) == (32,)
    assert part_sizes(18) == (18,)
    assert part_sizes(8) == (8,)
    whole = HostDocuments(TREECALL, KEY, 16, unit=None)
    (part,) = whole.parts(3)
    assert len(part["tokens"]) == 16
    assert whole.longest(3).tolist() == [int(part["lengths"].max())]


def test_hosts_draw_the_parts_of_the_whole():
    """Catches rows that one host has twice, or none has."""
    own = [HostDocuments(TREECALL, KEY, 64, sharding=Rows(first, first + 32)) for first in (0, 32)]
    whole = HostDocuments(TREECALL, KEY, 64)
    halves = [each._block(0) for each in own]
    assert [each.order.shape for each in halves] == [(BLOCK, 1, 32)] * 2
    found = [np.array(texts(each.documents), dtype=object)[each.order[5, 0]] for each in halves]
    assert sorted((*found[0], *found[1])) == sorted(documents_of(whole.parts(5)))


def test_parts_of_several_hosts(monkeypatch):
    """Catches hosts that put other rows at a place than their own, or leave some out."""
    hosts = [HostDocuments(TREECALL, KEY, 64, sharding=Rows(at, at + 32)) for at in (0, 32)]
    longest = np.max([host.longest(5) for host in hosts], axis=0)
    monkeypatch.setattr(data, "is_multiprocess", lambda: True)
    found = []
    for number, host in enumerate(hosts):
        # Every part has equally many rows of each host, one host after the other.
        def own(shape, _, of_device, number=number):
            rows = shape[0] // 2
            return jnp.asarray(of_device((slice(number * rows, (number + 1) * rows),)))

        monkeypatch.setattr(data.jax, "make_array_from_callback", own)
        parts = host.parts(5, longest)
        assert sum(len(part["tokens"]) for part in parts) == 32
        ascending = np.concatenate([part["lengths"] for part in parts])
        assert (np.diff(ascending) >= 0).all()
        found += documents_of(parts)
    monkeypatch.undo()
    assert sorted(found) == sorted(documents_of(HostDocuments(TREECALL, KEY, 64).parts(5)))


def test_hosts_agree_on_widths(monkeypatch):
    """Catches a host that pads its parts without asking how long those of the others are."""
    own = HostDocuments(TREECALL, KEY, 64, sharding=Rows(0, 32))
    ours = own.longest(3).copy()
    monkeypatch.setattr(data, "is_multiprocess", lambda: True)
    gather = lambda longest: np.stack([longest, longest + 1])
    monkeypatch.setattr(data.multihost_utils, "process_allgather", gather)
    again = HostDocuments(TREECALL, KEY, 64, sharding=Rows(0, 32))
    np.testing.assert_array_equal(again.longest(3), ours + 1)


def test_lanes_differ():
    """Catches one key for all lanes: every document would be there eight times."""
    found = texts(HostDocuments(TREECALL, KEY, 16)._block(0).documents)
    assert len(set(found)) > 0.5 * len(found)
    small.assert_same_bits(
        HostDocuments(TREECALL, KEY, 16).parts(3),
        HostDocuments(TREECALL, KEY, 16, Replay(5)).parts(8),
    )


# Catches a host that shuffles otherwise than a device, and an order of the epoch before.
def test_a_host_shuffles_as_a_device_does():
    replay = Replay(5, shuffle=True)
    fixed = HostDocuments(TREECALL, KEY, 16, Replay(5))
    shuffled = HostDocuments(TREECALL, KEY, 16, replay)
    for step in (*range(12), 3):
        place = int(replay.batch(KEY, step))
        small.assert_same_bits(shuffled.parts(step), fixed.parts(place))
