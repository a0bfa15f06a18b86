"""What interventions make of activations, in loops over documents and places."""

import chex
import jax.numpy as jnp
import numpy as np

from mecheval_jax.sites import rewrite

DOCUMENTS, LENGTH, WIDTH = 6, 5, 4
FLAT, HEADS = "block_1/mixer_output", "block_1/mixer/q"
COLUMNS = jnp.array([[0, 2], [1, -1], [4, 3], [2, 0], [3, 4], [-1, 1]])
"""A document with its first column absent, and one with its second."""
MASK = jnp.asarray(np.random.default_rng(3).random((DOCUMENTS, LENGTH)) < 0.5)
EVERY_FORM = {"columns": COLUMNS, "one": COLUMNS[:, 0], "mask": MASK, "everywhere": None}


def activations(seed):
    draw = np.random.default_rng(seed)
    q = draw.normal(size=(DOCUMENTS, LENGTH, 2, WIDTH // 2))
    flat = draw.normal(size=(DOCUMENTS, LENGTH, WIDTH))
    as_array = lambda x: jnp.asarray(x, jnp.float32)
    return {FLAT: as_array(flat), HEADS: as_array(q)}


LIVE, OTHER = activations(0), activations(1)


def applied(patch):
    """The activations of `LIVE`, rewritten."""
    return {path: rewrite(LIVE[path], e) for path, e in patch.items()}


def places(form):
    """(document, place, position) of every place that a document has, in loops."""
    positions = EVERY_FORM[form]
    for document in range(DOCUMENTS):
        if form in ("everywhere", "mask"):
            for position in range(LENGTH):
                if positions is None or positions[document, position]:
                    yield document, position, position
        else:
            for column, position in enumerate(np.asarray(positions[document]).reshape(-1)):
                if position >= 0:
                    yield document, column, int(position)


def by_hand(form, path, value_of):
    """LIVE at a path with `value_of(document, place)` at all places."""
    expected = np.array(LIVE[path])
    for document, place, position in places(form):
        value = value_of(document, place)
        if value is not None:
            expected[document, position] = value
    return expected


def found(form, path):
    """Place -> document -> activation of OTHER there."""
    table = {}
    for document, place, position in places(form):
        table.setdefault(place, {})[document] = np.asarray(OTHER[path])[document, position]
    return table


class Values(chex.TestCase):
    """Every value that is put in, against loops, compiled and not."""

    def check(self, make, value_of, exact=True):
        # Python is slow where nothing is compiled: one form tells.
        compiled = "without_jit" not in self._testMethodName
        for form in EVERY_FORM if compiled else ("columns",):
            positions = EVERY_FORM[form]
            rewritten = self.variant(lambda p=positions: applied(make([FLAT, HEADS], p)))()
            for path in (FLAT, HEADS):
                expected = by_hand(form, path, value_of(form, path))
                if exact:
                    np.testing.assert_array_equal(rewritten[path], expected, str((form, path)))
                else:
                    np.testing.assert_allclose(rewritten[path], expected, rtol=1e-5, atol=1e-6)
