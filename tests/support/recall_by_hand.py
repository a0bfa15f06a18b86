"""A document of associative recall, written by hand."""

import jax.numpy as jnp

from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall


def by_hand():
    """A document written by hand, and its task."""
    task = AssociativeRecall(
        pairs=3, key_vocabulary=4, value_vocabulary=4, filler=1, filler_vocabulary=2
    )
    column = lambda position: jnp.array([[position]])
    return task, Batch(
        tokens=jnp.array([[1, 4, 9, 12, 3, 7, 11, 5, 8, 2, 4, 9, 2, 0]]),
        query_positions=column(10),
        targets=column(9),
        weights=jnp.ones((1, 1)),
        roles={
            "bos": column(0),
            "key": column(1),
            "value": column(2),
            "next_key": column(3),
            "value+2": column(-1),
            "next_pair_key": column(4),
            "divider": column(9),
            "query": column(10),
            "answer": column(11),
        },
        lengths=jnp.array([13]),
    )
