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
from mecheval_jax.training.data import (
    BLOCK,
    HostDocuments,
    evaluation_batch,
    stream,
    training_batch,
)
from tests.support import small

TASK = AssociativeRecall(pairs=2, key_vocabulary=8, value_vocabulary=8)


@functools.partial(jax.jit, static_argnums=1)
def batch_of_step(step, training_batches, key=0):
    return training_batch(TASK, jax.random.key(key), jnp.asarray(step), 4, training_batches)


def test_fixed_set_is_replayed():
    """Catches a set that is shuffled, drawn anew in the second epoch, or of another size."""
    epoch = [batch_of_step(step, 3) for step in range(3)]
    for step in range(3):
        small.assert_same_bits(batch_of_step(step + 3, 3), epoch[step])
        small.assert_same_bits(batch_of_step(step + 300, 3), epoch[step])
        # It is the beginning of the endless stream.
        small.assert_same_bits(batch_of_step(step, None), epoch[step])
    assert len({np.asarray(batch.tokens).tobytes() for batch in epoch}) == 3


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
    whole = texts(HostDocuments(TREECALL, KEY, batch_size)._block(0).documents)
    batches = np.array(whole, dtype=object).reshape(BLOCK, batch_size)
    rows = batch_size // hosts
    for host in range(hosts):
        del drawn[:]
        first = host * rows
        own = HostDocuments(TREECALL, KEY, batch_size, sharding=Rows(first, first + rows))
        found = texts(own._block(0).documents)
        assert len(drawn) == each
        found = np.array(found, dtype=object).reshape(BLOCK, -1)
        skipped = first - drawn[0] * (batch_size // np.gcd(8, batch_size))
        assert (found[:, skipped : skipped + rows] == batches[:, first : first + rows]).all()


def test_a_batch_is_what_its_lanes_say():
    """Catches lanes in another order, rows of another batch, and a width of another batch."""
    documents = HostDocuments(TREECALL, KEY, 16)
    key = jax.random.fold_in(stream(KEY, "train"), 1)
    lanes = [texts(TREECALL.draw_lane(key, BLOCK * 16, "train", lane, 8)) for lane in range(8)]
    for place in (0, 5, BLOCK - 1):
        expected = [text for lane in lanes for text in lane[2 * place : 2 * place + 2]]
        batch = documents.batch(BLOCK + place)
        found = [
            tuple(row[:length])
            for row, length in zip(batch.tokens.tolist(), batch.lengths.tolist(), strict=True)
        ]
        assert found == expected
        longest = max(map(len, expected))
        assert batch.tokens.shape[1] == min(width for width in (16, 32, 36) if width >= longest)


def test_lanes_differ():
    """Catches one key for all lanes: every document would be there eight times."""
    found = texts(HostDocuments(TREECALL, KEY, 16)._block(0).documents)
    assert len(set(found)) > 0.5 * len(found)
    small.assert_same_bits(
        HostDocuments(TREECALL, KEY, 16).batch(3), HostDocuments(TREECALL, KEY, 16, 5).batch(8)
    )
