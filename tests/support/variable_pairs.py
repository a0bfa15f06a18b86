"""Documents of the planted task, and pairs of them that differ in one variable."""

import functools

import jax

from mecheval_jax.evaluation.representations.counterfactuals import counterfactual
from tests.support import planted

DOCUMENTS = 160


@functools.cache
def documents():
    return planted.documents(planted.TASK, DOCUMENTS)


@functools.cache
def pairs_of(variable):
    return jax.jit(counterfactual, static_argnums=(0, 2))(
        planted.TASK, documents(), variable, jax.random.key(0)
    )
