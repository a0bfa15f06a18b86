"""The sites inside the mixers: what they hold, that a cut lands, and that a state goes on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.interventions.patch import positions_mask
from mecheval_jax.sites import INTERVENTIONS, STATE, is_site
from tests.mixers.test_mixers import BATCH, CASES, LENGTH, MAIN, WIDTH, example, parallel

AT = 4
"""Where activations are replaced."""

WITHOUT_CONVOLUTIONS = [
    case
    for case in CASES
    if case.endswith("no_conv") or case.startswith(("gla", "retnet", "based"))
] + ["lstm", "rwkv4_associative"]
"""Mixers that keep nothing of the past but their state (RWKV one more token, its input)."""


def capture(case, x):
    """Activations at all sites of the mixer."""
    mixer, variables, _ = example(case)
    look = lambda variables, x: mixer.apply(
        variables, x, capture_intermediates=is_site, mutable=["intermediates"]
    )
    _, captured = jax.jit(look)(variables, x)
    return {name: value["__call__"][0] for name, value in captured["intermediates"].items()}


@functools.cache
def other(case):
    """Another input, and the activations that it gives."""
    x = jax.random.normal(jax.random.key(7), (BATCH, LENGTH, WIDTH))
    return x, capture(case, x)


def at(position, activation):
    return positions_mask(jnp.full(BATCH, position), LENGTH, activation.ndim)


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


# Catches a state that is replaced for one token only, or by halves: with the state of another
# document at a position, the rest must be what the document spliced there would give.
@pytest.mark.parametrize("case", WITHOUT_CONVOLUTIONS)
def test_a_replaced_state_goes_on(case):
    mixer, variables, x = example(case)
    their_x, theirs = other(case)
    spliced = jnp.concatenate([their_x[:, : AT + 1], x[:, AT + 1 :]], axis=1)
    first = AT + 1
    if case.startswith("rwkv4"):  # the token after reads the one before it, which stays
        spliced, first = spliced.at[:, AT].set(x[:, AT]), AT + 1
        theirs = capture(case, their_x.at[:, AT].set(x[:, AT]))
        spliced = jnp.concatenate([their_x[:, :AT], x[:, AT:]], axis=1)
    entry = {"value": theirs[STATE], "mask": at(AT, theirs[STATE])}
    run = jax.jit(lambda entry, x: mixer.apply(variables | {INTERVENTIONS: {STATE: entry}}, x))
    expected = np.asarray(jax.jit(mixer.apply)(variables, spliced))[:, first:]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(run(entry, x)[:, first:], expected, atol=3e-5 * scale)


RECURRENCES = {
    "mamba": ("scan_backend", ("sequential", "associative", "chunked")),
    "mamba2": ("backend", ("sequential", "chunked")),
    "delta_net": ("backend", ("sequential", "chunked")),
    "gated_delta_net": ("backend", ("sequential", "chunked")),
    "gla": ("backend", ("sequential", "chunked")),
    "retnet": ("backend", ("sequential", "chunked")),
    "based": ("backend", ("quadratic", "sequential", "chunked")),
    "rwkv4": ("backend", ("sequential", "associative")),
    "lstm": (None, ("",)),
}
STATES = ("ssm", "matrix", "sums")
"""Names of the matrix in the states of the recurrent forms; an LSTM's is bare."""


def entries_of(value):
    """Interventions on a state: at a position, and entry by entry, one after the other."""
    some = jax.random.bernoulli(jax.random.key(3), 0.2, value.shape)
    shift = jnp.where(at(AT, value), jax.random.normal(jax.random.key(4), value.shape), 0)
    direction = jnp.arange(1, value.shape[-1] + 1, dtype=value.dtype)
    direction = direction / jnp.linalg.norm(direction)
    elementwise = {"value": value, "mask": at(AT, value) | some, "shift": shift}
    mixing = {"value": value, "mask": at(AT, value), "projection": jnp.outer(direction, direction)}
    return {"elementwise": elementwise, "mixing": mixing | {"then": {"shift": shift}}}


@functools.cache
def by_hand(case, kind):
    """States and outputs of the recurrent form, each state rewritten before the next token."""
    mixer, variables, x = example(case)
    entry = entries_of(other(case)[1][STATE])[kind]
    step = jax.jit(lambda state, x_t: mixer.apply(variables, state, x_t, method="step"))
    state = mixer.apply(variables, BATCH, LENGTH, method="initial_state")
    states, outputs = [], []
    for t in range(LENGTH):
        state, y_t = step(state, x[:, t])
        whole = state if isinstance(state, dict) else {"": state}
        (name,) = (name for name in whole if name in ("", *STATES))
        inner = np.asarray(whole[name])
        for one in (entry, entry.get("then", {})):
            if "value" in one:
                change = np.asarray(one["value"][:, t]) - inner
                if "projection" in one:
                    change = change @ np.asarray(one["projection"])
                inner = inner + np.where(np.asarray(one["mask"][:, t]), change, 0)
            inner = inner + np.asarray(one["shift"][:, t] if "shift" in one else 0)
        whole = whole | {name: jnp.asarray(inner)}
        state = whole if isinstance(state, dict) else whole[""]
        states.append(inner)
        outputs.append(y_t)
    return np.stack(states, axis=1), np.stack(outputs, axis=1)


# Catches a backend in which a state that is replaced, shifted or turned at a position (or number
# by number) does not reach the later tokens, reaches them twice, or is lost in a parallel scan.
@pytest.mark.parametrize("kind", ["elementwise", "mixing"])
@pytest.mark.parametrize("case", RECURRENCES)
def test_a_rewritten_state_is_the_recurrent_form_rewritten_by_hand(case, kind):
    mixer, variables, x = example(case)
    entry = entries_of(other(case)[1][STATE])[kind]
    states, outputs = by_hand(case, kind)
    field, backends = RECURRENCES[case]
    for backend in backends if kind == "elementwise" else backends[-1:]:
        chosen = mixer.clone(**{field: backend}) if field else mixer
        run = jax.jit(
            lambda entry, m=chosen: m.apply(
                variables | {INTERVENTIONS: {STATE: entry}},
                x,
                capture_intermediates=is_site,
                mutable=["intermediates"],
            )
        )
        y, captured = run(entry)
        (seen,) = captured["intermediates"][STATE]["__call__"]
        np.testing.assert_allclose(seen, states, atol=1e-5 * np.abs(states).max())
        after = np.s_[:, AT + 1 :]
        if kind == "mixing":  # the recurrent form has read its state before it is rewritten
            np.testing.assert_allclose(
                y[after], outputs[after], atol=3e-5 * np.abs(outputs[after]).max()
            )
            assert np.abs(y[after] - parallel(case)[after]).max() > 1e-3


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
