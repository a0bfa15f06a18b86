"""Documents that hosts draw: each its own rows, of one batch that all share."""

import jax
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from mecheval_jax.tasks.treecall.treecall import Treecall
from mecheval_jax.training.data import BLOCK, HostDocuments, stream
from tests.support import small

TASK = Treecall(longest=30)
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
    whole = texts(HostDocuments(TASK, KEY, batch_size)._block(0).documents)
    batches = np.array(whole, dtype=object).reshape(BLOCK, batch_size)
    rows = batch_size // hosts
    for host in range(hosts):
        del drawn[:]
        first = host * rows
        own = HostDocuments(TASK, KEY, batch_size, sharding=Rows(first, first + rows))
        found = texts(own._block(0).documents)
        assert len(drawn) == each
        found = np.array(found, dtype=object).reshape(BLOCK, -1)
        skipped = first - drawn[0] * (batch_size // np.gcd(8, batch_size))
        assert (found[:, skipped : skipped + rows] == batches[:, first : first + rows]).all()


def test_a_batch_is_what_its_lanes_say():
    """Catches lanes in another order, rows of another batch, and a width of another batch."""
    documents = HostDocuments(TASK, KEY, 16)
    key = jax.random.fold_in(stream(KEY, "train"), 1)
    lanes = [texts(TASK.draw_lane(key, BLOCK * 16, "train", lane, 8)) for lane in range(8)]
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
    found = texts(HostDocuments(TASK, KEY, 16)._block(0).documents)
    assert len(set(found)) > 0.5 * len(found)
    small.assert_same_bits(
        HostDocuments(TASK, KEY, 16).batch(3), HostDocuments(TASK, KEY, 16, 5).batch(8)
    )
