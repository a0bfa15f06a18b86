"""Ablations against loops, and their moments."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import (
    gaussian,
    mean,
    resample,
    zero,
)
from tests.support.rewrites_by_hand import (
    COLUMNS,
    FLAT,
    HEADS,
    LIVE,
    OTHER,
    WIDTH,
    Values,
    applied,
    found,
    places,
)
from tests.support.two_runs import DOCUMENTS, EVERYWHERE, LENGTH, differs, same


class Ablations(Values):
    """Values of ablations, compiled and not."""

    @chex.variants(with_jit=True, without_jit=True)
    def test_zero(self):
        """Catches zeros at other positions, in other documents, or of another shape."""
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


def test_a_document_without_a_donor_can_be_one():
    """Catches documents that are left as they are since nobody has the places of their donor."""
    columns = jnp.array([[0, 1], [2, -1], [3, -1], [0, -1], [1, -1], [4, -1]])
    for seed in range(8):
        entry = resample(OTHER, [FLAT], jax.random.key(seed), columns)[FLAT]
        chosen = np.asarray(entry["mask"]).reshape(6, -1).sum(axis=1)
        np.testing.assert_array_equal(chosen, [0, 1, 1, 1, 1, 1])


def test_resampling_by_a_mask():
    """Catches a donor that lacks a part of the mask, so that the rest stays as it is."""
    lengths = np.array([5, 2, 3, 3, 4, 1])
    mask = jnp.arange(5)[None] < lengths[:, None]
    for seed in range(8):
        entry = resample(OTHER, [FLAT], jax.random.key(seed), mask)[FLAT]
        chosen = np.asarray(entry["mask"]).reshape(len(lengths), -1).sum(axis=1)
        # The longest has no donor and is left alone; the others are replaced wholly.
        np.testing.assert_array_equal(chosen, np.where(lengths == 5, 0, lengths))


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


def test_zero(subject):
    """Catches a zero that is scaled, or put elsewhere."""
    site = "block_0/mixer_output"
    logits, seen = subject.observe(zero(subject.activations, [site], subject.key))
    before = np.asarray(subject.activations["block_0/mixer_output"])
    after = np.asarray(seen["block_0/mixer_output"])
    rows, key = np.arange(DOCUMENTS), np.asarray(subject.key)
    assert not after[rows, key].any()
    rest = np.ones((DOCUMENTS, LENGTH), bool)
    rest[rows, key] = False
    same(after[rest], before[rest])
    assert differs(logits, subject.logits).all()
    assert not subject.patched(zero(subject.activations, ["final_norm"], EVERYWHERE)).any()


def test_absent_places_have_no_part_in_a_mean():
    """Catches an infinite activation of a document that lacks the place, as of masked scores."""
    x = jnp.asarray([[1.0], [3.0], [-jnp.inf]])[:, :, None]
    here = jnp.asarray([[True], [True], [False]])
    entry = mean({"embedding": x}, ["embedding"], here)["embedding"]
    np.testing.assert_array_equal(entry["value"][:2, 0, 0], 2.0)
    noise = gaussian({"embedding": x}, ["embedding"], jax.random.key(0), here)["embedding"]
    assert np.isfinite(noise["value"][:2]).all()
