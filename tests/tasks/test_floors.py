"""Floors of recall, of documents that are counted by hand."""

import jax.numpy as jnp
import pytest

from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.floors import recall_floors

ANSWERS = range(10, 14)


def batch_of(divider):
    """Two documents, the second with one query that does not count."""
    roles = {"divider": jnp.array([[6, 6], [4, -1]])} if divider else {}
    return Batch(
        #                   0   1  2   3  4   5  6   7   8
        tokens=jnp.array([[1, 10, 5, 11, 6, 10, 2, 12, 10], [1, 12, 5, 13, 2, 5, 0, 0, 0]]),
        query_positions=jnp.array([[6, 8], [5, 0]]),
        targets=jnp.array([[10, 11], [13, 12]]),
        weights=jnp.array([[1.0, 1.0], [1.0, 0.0]]),
        roles=roles,
        lengths=jnp.array([9, 6]),
    )


# Catches tokens behind the divider that count as seen, a query without weight that counts, a last
# token that is the document's own and not the last before the query, and a majority of tokens.
@pytest.mark.parametrize(
    ("divider", "in_document", "last"),
    [
        # 10 11 10 and 12 13 are seen: 10 is two of three, 11 one of three, 13 one of two.
        (True, (2 / 3 + 1 / 3 + 1 / 2) / 3, 2 / 3),
        # Without one the second query sees 12 as well, which is then the last.
        (False, (2 / 3 + 1 / 4 + 1 / 2) / 3, 2 / 3),
    ],
)
def test_by_hand(divider, in_document, last):
    floors = recall_floors(batch_of(divider), ANSWERS)
    expected = {"uniform": 1 / 4, "in_document": in_document, "first": 1 / 3, "last": last}
    expected |= {"majority": 1 / 3, "best": last}
    assert floors == pytest.approx(expected, rel=1e-6)
