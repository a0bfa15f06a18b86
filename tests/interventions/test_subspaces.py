"""Shifts along directions, and interchange in subspaces, against loops."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import (
    compose,
    interchange_subspace,
    projection_onto,
    steer,
)
from mecheval_jax.sites import rewrite
from tests.support.rewrites_by_hand import (
    EVERY_FORM,
    FLAT,
    HEADS,
    LIVE,
    OTHER,
    WIDTH,
    Values,
    applied,
    places,
)


class Directions(Values):
    """Values along directions, compiled and not."""

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


def test_a_projection_is_one_on_every_device():
    """Catches a product that accelerators round, which is then refused as no projection."""
    program = str(jax.make_jaxpr(projection_onto)(jnp.eye(WIDTH)[:, :2]))
    assert program.count("dot_general") == 1
    assert "HIGHEST" in program


def test_a_projection_keeps_the_type_of_the_activation():
    """Catches a model in half precision that goes on in float32 behind a projection."""
    live = jnp.ones((1, 2, 4), jnp.bfloat16)
    entry = {"value": 2 * live, "projection": jnp.eye(4), "mask": jnp.array([[[True], [False]]])}
    changed = rewrite(live, entry)
    assert changed.dtype == live.dtype
    np.testing.assert_array_equal(changed.astype(jnp.float32)[0, :, 0], [2.0, 1.0])


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
