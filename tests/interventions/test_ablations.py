"""Rewrites of values: ablations, swaps, steering, subspaces, channels, positions."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import (
    compose,
    gaussian,
    inside,
    interchange,
    interchange_subspace,
    locate,
    mean,
    merge_disjoint,
    on_channels,
    projection_onto,
    resample,
    steer,
    swap,
    zero,
)
from mecheval_jax.sites import rewrite
from mecheval_jax.tasks.base import Batch

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

    @chex.variants(with_jit=True, without_jit=True)
    def test_interchange_and_zero(self):
        """Catches a position read as a column, a mask read as integers, absent ones as last."""
        self.check(
            lambda sites, p: interchange(OTHER, sites, p),
            lambda form, path: lambda document, place: found(form, path)[place][document],
        )
        self.check(lambda sites, p: zero(OTHER, sites, p), lambda *_: lambda *_: 0)

    @chex.variants(with_jit=True, without_jit=True)
    def test_mean(self):
        """Catches a mean over positions, over heads, or over documents without the place."""
        self.check(
            lambda sites, p: mean(OTHER, sites, p),
            lambda form, path: (
                lambda document, place: np.mean(list(found(form, path)[place].values()), axis=0)
            ),
            exact=False,
        )

    @chex.variants(with_jit=True, without_jit=True)
    def test_swap(self):
        """Catches the donor read at the other document's position, and a permutation inverted."""
        donors = [2, 0, 1, 4, 5, 3]
        self.check(
            lambda sites, p: swap(OTHER, sites, jnp.array(donors), p),
            lambda form, path: lambda d, place: found(form, path)[place].get(donors[d]),
        )

    @chex.variants(with_jit=True, without_jit=True)
    def test_steer(self):
        """Catches a direction that replaces, that is added elsewhere, or along another axis."""
        direction = jnp.arange(1.0, WIDTH + 1)
        for form, positions in EVERY_FORM.items():
            rewritten = self.variant(
                lambda p=positions: applied(
                    compose(
                        steer(LIVE, [FLAT], direction, p),
                        steer(LIVE, [HEADS], direction.reshape(2, 2), p),
                    )
                )
            )()
            expected = {path: np.array(LIVE[path]) for path in (FLAT, HEADS)}
            for document, _, position in places(form):
                expected[FLAT][document, position] += np.asarray(direction)
                expected[HEADS][document, position] += np.asarray(direction).reshape(2, 2)
            for path, value in expected.items():
                np.testing.assert_array_equal(rewritten[path], value)

    @chex.variants(with_jit=True, without_jit=True)
    def test_interchange_in_a_subspace(self):
        """Catches the complement interchanged, and rows of a basis taken for its columns."""
        basis = np.linalg.qr(np.random.default_rng(4).normal(size=(WIDTH, 2)))[0]
        projection = projection_onto(jnp.asarray(basis, jnp.float32))
        for form, positions in EVERY_FORM.items():
            rewritten = self.variant(
                lambda p=positions: applied(interchange_subspace(OTHER, [FLAT], projection, p))
            )()[FLAT]
            expected = np.array(LIVE[FLAT], np.float64)
            for document, _, position in places(form):
                change = np.asarray(OTHER[FLAT])[document, position]
                change = change - expected[document, position]
                for column in basis.T:
                    expected[document, position] += column * (column @ change)
            np.testing.assert_allclose(rewritten, expected, rtol=1e-5, atol=1e-5)
        # Of one's own activation nothing changes, to the bit.
        own = applied(interchange_subspace(LIVE, [FLAT], projection))[FLAT]
        np.testing.assert_array_equal(own, LIVE[FLAT])


def test_resampled_documents_are_others():
    """Catches a document that is given itself, one without the place, or the same for all keys."""
    seen = set()
    for seed in range(12):
        patch = resample(OTHER, [FLAT, HEADS], jax.random.key(seed), COLUMNS)
        rewritten = applied(patch)
        for document, place, position in places("columns"):
            donors = {}
            for path in (FLAT, HEADS):
                got = np.asarray(rewritten[path])[document, position]
                table = found("columns", path)[place]
                donors[path] = [d for d, x in table.items() if (x == got).all()]
            assert len(donors[FLAT]) == 1
            assert donors[FLAT] == donors[HEADS]
            assert donors[FLAT] != [document]
            seen.add((document, donors[FLAT][0]))
    # Document 1 lacks its second place: any other that has the first is a donor for it, and it
    # is none for those that have both.
    assert {donor for document, donor in seen if document == 1} == {0, 2, 3, 4}
    assert {donor for document, donor in seen if document == 0} == {2, 3, 4}


def test_resampling_needs_a_second_document():
    """Catches a document resampled from itself."""
    one = jax.tree.map(lambda leaf: leaf[:1], OTHER)
    with pytest.raises(UserError, match="one document"):
        resample(one, [FLAT], jax.random.key(0))
    lonely = jnp.array([0, -1, -1, -1, -1, -1])
    np.testing.assert_array_equal(
        applied(resample(OTHER, [FLAT], jax.random.key(0), lonely))[FLAT], LIVE[FLAT]
    )


def test_gaussian_noise_has_the_moments_of_its_place():
    """Catches a spread over channels, noise shared by documents or sites, and a lost mean."""
    draw = np.random.default_rng(0)
    many = 2000
    scale, centre = np.array([0.5, 1, 2, 4.0]), np.array([3.0, -1, 0, 10])
    x = jnp.asarray(centre + scale * draw.normal(size=(many, 2, WIDTH)), jnp.float32)
    reference = {"embedding": x, "final_norm": x}
    patch = gaussian(reference, ["embedding", "final_norm"], jax.random.key(1), jnp.ones(many, int))
    value, other = (np.asarray(patch[name]["value"])[:, 1] for name in reference)
    np.testing.assert_allclose(value.mean(axis=0), centre, atol=0.4)
    np.testing.assert_allclose(value.std(axis=0), scale, rtol=0.08)
    correlation = np.corrcoef(np.concatenate([value, other], axis=1).T) - np.eye(2 * WIDTH)
    assert np.abs(correlation).max() < 0.12
    assert not np.asarray(patch["embedding"]["mask"])[:, 0].any()


def test_channels():
    """Catches channels counted from the wrong axis, and a shift or projection left whole."""
    projection = jnp.full((WIDTH, WIDTH), 1 / WIDTH)
    patches = [
        interchange(OTHER, [FLAT], COLUMNS),
        interchange(OTHER, [FLAT]),
        steer(LIVE, [FLAT], jnp.ones(WIDTH), COLUMNS),
        interchange_subspace(OTHER, [FLAT], projection, COLUMNS),
        compose(
            interchange_subspace(OTHER, [FLAT], projection), steer(LIVE, [FLAT], jnp.ones(WIDTH))
        ),
    ]
    for patch in patches[:4]:
        whole, some = applied(patch)[FLAT], applied(on_channels(patch, [1, 3]))[FLAT]
        np.testing.assert_array_equal(some[..., [1, 3]], whole[..., [1, 3]])
        np.testing.assert_array_equal(some[..., [0, 2]], LIVE[FLAT][..., [0, 2]])
        assert (np.asarray(whole) != np.asarray(some)).any()
    some = applied(on_channels(patches[4], [1]))[FLAT]
    np.testing.assert_array_equal(some[..., [0, 2, 3]], LIVE[FLAT][..., [0, 2, 3]])
    assert (np.asarray(some)[..., 1] != np.asarray(LIVE[FLAT])[..., 1]).all()
    with pytest.raises(UserError, match=f"{FLAT} has no channel 4: valid are 0 to 3"):
        on_channels(patches[0], [4])


def test_a_basis_that_is_not_orthonormal():
    """Catches a projection that stretches, and a tolerance that lets it pass."""
    with pytest.raises(UserError, match=r"deviates from the identity by 0.02, at most 0.0001"):
        projection_onto(jnp.eye(WIDTH)[:, :2] * jnp.array([[1.01, 1.0]]) ** 0.995)
    with pytest.raises(UserError, match="not orthonormal"):
        projection_onto(jnp.full((WIDTH, 2), jnp.nan))
    with pytest.raises(UserError, match="P P deviates from P by 2"):
        interchange_subspace(OTHER, [FLAT], 2 * jnp.eye(WIDTH))
    with pytest.raises(UserError, match=r"\[2, 2\], the activation has 4 channels"):
        interchange_subspace(OTHER, [FLAT], jnp.eye(2))
    with pytest.raises(UserError, match=r"the direction is \[2\], an activation .* \[4\]"):
        steer(LIVE, [FLAT], jnp.ones(2))


def test_claims_without_an_order():
    """Catches a claim that is overwritten silently, and one reported where there is none."""
    first, apart = jnp.array([0, 1, 4, 2, 3, -1]), jnp.array([1, 2, 0, 3, 4, 2])
    value, beside = interchange(OTHER, [FLAT], first), zero(LIVE, [FLAT], apart)
    both = applied(merge_disjoint(value, beside, zero(LIVE, [HEADS])))
    np.testing.assert_array_equal(both[FLAT], applied(compose(beside, value))[FLAT])
    up = steer(LIVE, [FLAT], jnp.ones(WIDTH), first)
    np.testing.assert_allclose(
        applied(merge_disjoint(up, up))[FLAT], applied(compose(up, up))[FLAT], rtol=1e-6
    )
    clash = zero(LIVE, [FLAT], jnp.array([-1, -1, 4, 2, -1, -1]))
    for others in ((value, clash), (value, beside, up), (up, value)):
        with pytest.raises(UserError, match=f"claim {FLAT} at"):
            merge_disjoint(*others)
    with pytest.raises(UserError, match="at 2 positions, the first of them 4 in document 2"):
        merge_disjoint(value, clash)


TOKENS = jnp.ones((3, 4), jnp.int32)
BATCH = Batch(
    tokens=TOKENS,
    query_positions=jnp.array([[3], [2], [3]]),
    targets=jnp.zeros((3, 1), jnp.int32),
    weights=jnp.ones((3, 1)),
    roles={"key": jnp.array([[1], [0], [2]]), "next_key": jnp.array([[3], [-1], [-1]])},
    lengths=jnp.array([4, 3, 4]),
)


def test_positions_by_role_index_and_mask():
    """Catches roles of another query, columns out of order, an index that wraps."""
    columns = locate(BATCH, "key", 2, jnp.array([0, 1, 3]))
    np.testing.assert_array_equal(columns, [[1, 2, 0], [0, 2, 1], [2, 2, 3]])
    np.testing.assert_array_equal(
        locate(BATCH, "next_key", 3, skip_absent=True), [[3, 3], [-1, -1], [-1, 3]]
    )
    mask = inside(BATCH)
    np.testing.assert_array_equal(mask, [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(locate(BATCH, mask), mask)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            ("nextkey",),
            "unknown role 'nextkey' (did you mean 'next_key'?): valid are key, next_key",
        ),
        (("next_key",), "role 'next_key' does not exist in 2 of 3 documents: 1, 2 (skip_absent"),
        ((3,), "position 3 does not exist in 1 of 3 documents: 1 "),
        ((-1,), "position -1 does not exist in 3 of 3 documents: 0, 1, 2 "),
        ((jnp.array([0, 3, 1]),), "a position does not exist in 1 of 3 documents: 1 "),
        ((jnp.array([0, 1]),), "2 positions for 3 documents"),
        ((jnp.ones((3, 4), bool),), "a selected position does not exist in 1 of 3 documents: 1 "),
        ((jnp.ones((3, 3), bool),), "the mask is [3, 3], the documents [3, 4]"),
        ((jnp.ones((3, 4), bool), "key"), "a mask stands alone"),
        ((), "no positions"),
    ],
)
def test_positions_that_do_not_exist(where, message):
    """Catches a document that is left out silently."""
    with pytest.raises(UserError, match=re.escape(message)):
        locate(BATCH, *where)


def test_queries_and_numbers_of_numpy():
    """Catches a query that wraps or is clipped to the last, and a NumPy index taken for a mask."""
    np.testing.assert_array_equal(locate(BATCH, np.int64(2)), locate(BATCH, 2))
    for query in (1, -1):
        with pytest.raises(UserError, match=f"query {query}: these documents have queries 0 to 0"):
            locate(BATCH, "key", query=query)


def test_sites_are_a_list_or_one_name():
    """Catches a name that is read letter by letter, and a rewrite of no site that does nothing."""
    tree = {"embedding": jnp.arange(24.0).reshape(3, 4, 2)}
    whole = zero(tree, ["embedding"])
    np.testing.assert_array_equal(
        zero(tree, "embedding")["embedding"]["value"], whole["embedding"]["value"]
    )
    with pytest.raises(UserError, match="no sites"):
        zero(tree, [])
    for donors, message in (
        ([0, 1], r"donors are \[2\]: one for each of 3 documents"),
        ([0, 3, 1], "the donor of document 1 is 3: valid are 0 to 2"),
        ([0, 1, -1], "the donor of document 2 is -1"),
    ):
        with pytest.raises(UserError, match=message):
            swap(tree, "embedding", jnp.array(donors))
