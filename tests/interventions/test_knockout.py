"""Knockout in attention against attention that is computed without the edges."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import knockout_edges, knockout_heads, zero
from mecheval_jax.interventions.capture import nested
from mecheval_jax.sites import INTERVENTIONS, is_site
from tests.mixers.test_mixers import BATCH, LENGTH, WIDTH, example, parallel

SCORES, READ = "block_0/mixer/scores", "block_0/mixer/head_output"
SOURCES, DESTINATIONS = jnp.array([2, 0]), jnp.array([[5, 3, 8], [4, 2, 7]])


@functools.cache
def captured(case):
    mixer, variables, x = example(case)
    look = lambda v: mixer.apply(v, x, capture_intermediates=is_site, mutable=["intermediates"])
    _, seen = jax.jit(look)(variables)
    flat = {name: value["__call__"][0] for name, value in seen["intermediates"].items()}
    return {f"block_0/mixer/{name}": value for name, value in flat.items()}


def by_hand(case, cut, silent=()):
    """Outputs of attention in loops; `cut(document, head, destination, source)` is not read."""
    mixer, variables, x = example(case)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    dense = lambda name, x: x @ params[name]["kernel"] + params[name].get("bias", 0)
    x, heads = np.asarray(x, np.float64), mixer.heads
    q, k, v = (
        dense(f"{name}_proj", x).reshape(BATCH, LENGTH, heads, WIDTH // heads) for name in "qkv"
    )
    out = np.zeros(q.shape)
    for b, h, t in np.ndindex(BATCH, heads, LENGTH):
        first = max(0, t + 1 - mixer.window) if mixer.window else 0
        seen = [s for s in range(first, t + 1) if not cut(b, h, t, s)]
        if seen and h not in silent:
            scores = np.array([q[b, t, h] @ k[b, s, h] for s in seen]) / np.sqrt(WIDTH // heads)
            weights = np.exp(scores - scores.max())
            out[b, t, h] = weights / weights.sum() @ v[b, seen, h]
    return dense("out_proj", out.reshape(BATCH, LENGTH, WIDTH))


class Knockout(chex.TestCase):
    """Catches an edge the other way round, weights that do not sum to 1, other heads cut."""

    def check(self, case, patch, expected):
        mixer, variables, x = example(case)
        # The rewrite is made inside the program: it must be traceable too.
        cut = self.variant(
            lambda like: mixer.apply(
                variables | {INTERVENTIONS: nested(patch(like))["block_0"]["mixer"]}, x
            )
        )(captured(case))
        np.testing.assert_allclose(cut, expected, atol=2e-5 * np.abs(expected).max())
        assert np.abs(np.asarray(cut) - parallel(case)).max() > 1e-3

    @chex.variants(with_jit=True, without_jit=True)
    def test_edges(self):
        source, destinations = np.asarray(SOURCES), np.asarray(DESTINATIONS)
        cut = lambda b, h, t, s: (h, s) == (0, source[b]) and t in destinations[b]
        self.check(
            "attention_2_heads",
            lambda like: knockout_edges(like, [SCORES], SOURCES, DESTINATIONS, heads=[0]),
            by_hand("attention_2_heads", cut),
        )

    @chex.variants(with_jit=True, without_jit=True)
    def test_a_token_that_reads_nothing(self):
        """Also catches one that then reads the tokens behind it, or not a number."""
        last, first = jnp.full(BATCH, LENGTH - 1), jnp.zeros(BATCH, jnp.int32)
        self.check(
            "window",
            lambda like: knockout_edges(like, [SCORES], destinations=last),
            by_hand("window", lambda b, h, t, s: t == LENGTH - 1),
        )
        self.check(
            "attention_2_heads",
            lambda like: knockout_edges(like, [SCORES], sources=first),
            by_hand("attention_2_heads", lambda b, h, t, s: s == 0),
        )

    @chex.variants(with_jit=True, without_jit=True)
    def test_heads(self):
        self.check(
            "attention_2_heads",
            lambda like: knockout_heads(like, [READ], [1]),
            by_hand("attention_2_heads", lambda *_: False, silent=[1]),
        )


def test_a_head_is_cut_where_it_is_said():
    """Catches a head cut at all positions, and a mask that `zero` would not give."""
    like = captured("attention_2_heads")
    some = knockout_heads(like, [READ], [0, 1], SOURCES)[READ]
    whole = zero(like, [READ], SOURCES)[READ]
    np.testing.assert_array_equal(some["value"], whole["value"])
    np.testing.assert_array_equal(some["mask"], np.broadcast_to(whole["mask"], some["mask"].shape))


# Catches a derivative that is not a number where a row of scores is minus infinity.
def test_gradients_of_a_cut_run():
    mixer, variables, x = example("attention_2_heads")
    last = jnp.full(BATCH, LENGTH - 1)
    patch = knockout_edges(captured("attention_2_heads"), [SCORES], destinations=last)
    entries = {INTERVENTIONS: nested(patch)["block_0"]["mixer"]}
    gradient = jax.jit(jax.grad(lambda x: (mixer.apply(variables | entries, x) ** 2).sum()))(x)
    assert np.isfinite(gradient).all()
    assert np.abs(np.asarray(gradient)[:, 0]).max() > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda like: knockout_edges(like, ["block_0/mixer/q"]),
            "block_0/mixer/q holds no scores of attention; there are block_0/mixer/scores",
        ),
        (lambda like: knockout_edges(like, ["block_0/mixer/score"]), "did you mean"),
        (
            lambda like: knockout_edges(like, [SCORES], heads=[2]),
            "block_0/mixer/scores has no head 2: valid are 0 to 1",
        ),
        (lambda like: knockout_heads(like, ["block_0/mixer/v"], [0]), "there are .*head_output"),
        (lambda like: knockout_heads(like, [READ], [-1]), "no head -1"),
    ],
)
def test_what_cannot_be_cut(make, message):
    """Catches a head that wraps, and sites of other shapes cut along the wrong axis."""
    with pytest.raises(UserError, match=message):
        make(captured("attention_2_heads"))


def test_heads_along_another_axis_are_refused():
    """Catches channels of H3 cut in place of its heads."""
    shapes = {"q": (BATCH, LENGTH, WIDTH), "head_output": (BATCH, LENGTH, 2, WIDTH // 2)}
    h3 = {f"block_0/mixer/{name}": jnp.zeros(shape) for name, shape in shapes.items()}
    with pytest.raises(UserError, match=r"is not \[batch, length, heads, channels\]"):
        knockout_heads(h3, [READ], [0])
