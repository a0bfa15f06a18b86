"""The sites inside the mixers: what they hold, that a cut lands, and that unused ones are free."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.sites import INTERVENTIONS, STATE
from tests.support.mixer_cases import AT, MAIN, at, capture, example, other, parallel


# Catches a site that is listed but never passed, or that an earlier position could see into:
# replaced at a position, it may change that output and later ones, and no others. One program
# holds all sites; masks choose. That all own activations change nothing is the algebra's zero.
@pytest.mark.parametrize("case", MAIN)
def test_cuts(case):
    mixer, variables, x = example(case)
    own, (_, theirs) = capture(case, x), other(case)
    assert set(mixer.SITES) == set(own)

    @jax.jit
    def cut(values, masks):
        entries = {name: {"value": values[name], "mask": masks[name]} for name in masks}
        return mixer.apply(variables | {INTERVENTIONS: entries}, x)

    nowhere = {name: at(-1, value) for name, value in own.items()}
    everywhere = {name: jnp.ones_like(mask) for name, mask in nowhere.items()}
    scale = np.abs(parallel(case)).max()
    np.testing.assert_allclose(cut(own, everywhere), parallel(case), atol=3e-5 * scale)
    untouched = cut(theirs, nowhere)
    np.testing.assert_allclose(untouched, parallel(case), atol=3e-5 * scale)
    for name, value in own.items():
        changed = np.asarray(cut(theirs, nowhere | {name: at(AT, value)}) - untouched)
        reached = np.abs(changed).max(axis=(0, 2)) > 0
        assert not reached[:AT].any(), name
        if (case, name) == ("retnet", "decay"):  # the same in every document
            continue
        assert reached[AT:].any(), name
        if name == STATE:  # RWKV reads it before this token is added
            assert reached[AT + case.startswith("rwkv4") :].all(), name


def without_sites(monkeypatch):
    monkeypatch.setattr("mecheval_jax.sites.Site.__call__", lambda self, live, **_: live)
    monkeypatch.setattr("mecheval_jax.sites.Site.in_use", lambda self: False)
    monkeypatch.setattr("mecheval_jax.sites.Site.replaced", lambda self: False)


# Catches a site that keeps work alive: with no one looking, the program that is given to the
# compiler is the one without sites, letter by letter.
@pytest.mark.parametrize("case", MAIN)
def test_unused_sites_leave_no_trace(case, monkeypatch):
    mixer, variables, x = example(case)

    def program():
        return jax.jit(lambda variables: mixer.apply(variables, x)).lower(variables).as_text()

    with_sites = program()
    without_sites(monkeypatch)
    assert with_sites == program()


# Catches a layout that only a site wanted and that the compiled program pays for.
@pytest.mark.parametrize("case", ["attention_2_heads", "mamba"])
def test_unused_sites_cost_nothing(case, monkeypatch):
    mixer, variables, x = example(case)

    def cost():
        step = jax.jit(lambda variables: jax.grad(lambda v: mixer.apply(v, x).sum())(variables))
        compiled = step.lower(variables).compile()
        return compiled.cost_analysis()["flops"], compiled.as_text().count(" = ")

    with_sites = cost()
    without_sites(monkeypatch)
    monkeypatch.setattr("mecheval_jax.mixers.attention._rows", lambda scores: scores)
    assert with_sites == cost()
