"""The sites inside the mixers: what they hold, that a cut lands, and that unused ones are free."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.sites import INTERVENTIONS, ONLY_WITH, STATE, reach_of
from tests.support.mixer_cases import (
    AT,
    LENGTH,
    MAIN,
    at,
    capture,
    example,
    mixer_of,
    other,
    parallel,
)


# Catches a site that is listed but never passed, or that an earlier position could see into:
# replaced at a position, it may change that output and later ones, and no others. One program
# holds all sites; masks choose. That all own activations change nothing is the algebra's zero.
@pytest.mark.parametrize("case", MAIN)
def test_cuts(case):
    mixer, variables, x = example(case)
    own, (_, theirs) = capture(case, x), other(case)
    assert set(own) <= set(mixer.SITES)
    assert all(ONLY_WITH in mixer.SITES[name] for name in set(mixer.SITES) - set(own))

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
    monkeypatch.setattr("mecheval_jax.mixers.pattern._rows", lambda scores: scores)
    assert with_sites == cost()


@pytest.mark.parametrize("case", MAIN)
def test_local_reach(case):
    """Catches a convolution or shift that reaches further than its mixer says, or is not named."""
    mixer, _, x = example(case)
    changed_at = 1
    x = x.at[1].set(x[0].at[changed_at].add(1.0))  # documents that differ in one token
    reached, most = {}, LENGTH - 1 - changed_at
    for name, value in capture(case, x).items():
        differs = np.asarray(value[0] != value[1]).reshape(LENGTH, -1).any(axis=1)
        if differs.any():
            reached[name] = np.flatnonzero(differs).max() - changed_at
    declared = reach_of(mixer)
    for name, reach in declared.items():
        assert reached[name] == min(reach, most), name
    finite = [reach for reach in reached.values() if reach < most]
    # What comes after a named site reaches as far; nothing else mixes a few tokens only.
    assert max(finite, default=0) == max(
        [reach for reach in declared.values() if reach < most], default=0
    )


def test_without_reach():
    """Catches a mixer that says nothing and is taken for one that has no local mixing."""
    assert reach_of(nn.Dense(3)) is None
    assert reach_of(mixer_of("attention")) == {}
    assert reach_of(mixer_of("mamba_no_conv")) == {}
