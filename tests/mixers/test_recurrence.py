"""States of recurrences that are replaced and rewritten, in every backend."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import recurrence
from mecheval_jax.mixers.recurrence import STATE_SITES
from mecheval_jax.sites import INTERVENTIONS, STATE, is_site
from tests.support.mixer_cases import (
    AT,
    BATCH,
    CASES,
    LENGTH,
    at,
    capture,
    compiled,
    example,
    other,
    parallel,
)

WITHOUT_CONVOLUTIONS = [
    case
    for case in CASES
    if case.endswith("no_conv") or case.startswith(("gla", "retnet", "based"))
    if not case.startswith(("path", "mlstm"))  # which keep keys, and a stabiliser
    if not case.endswith("canon")
] + ["lstm", "rwkv4_associative", "hgrn2", "gated_slot_attention"]
"""Mixers that keep nothing of the past but their state (RWKV one more token, its input)."""


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
    expected = np.asarray(compiled(case)(variables, spliced))[:, first:]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(run(entry, x)[:, first:], expected, atol=3e-5 * scale)


RECURRENCES = {
    "mamba": ("scan_backend", ("sequential", "associative", "chunked")),
    "mamba2": ("backend", ("sequential", "chunked")),
    "delta_net": ("backend", ("sequential", "chunked")),
    "gated_delta_net": ("backend", ("sequential", "chunked")),
    "kda": ("backend", ("sequential", "chunked")),
    "gated_delta_product": ("backend", ("sequential", "chunked")),
    "rwkv7": ("backend", ("sequential", "chunked")),
    "gla": ("backend", ("sequential", "chunked")),
    "retnet": ("backend", ("sequential", "chunked")),
    "based": ("backend", ("quadratic", "sequential", "chunked")),
    "mamba3": ("backend", ("sequential", "chunked")),
    "mamba3_mimo": ("backend", ("chunked",)),
    "hgrn2": ("backend", ("sequential", "chunked")),
    "gated_slot_attention": ("backend", ("sequential", "chunked")),
    "mesa_net": ("backend", ("sequential",)),
    "mlstm": ("backend", ("sequential", "chunked")),
    "log_linear_mamba2": (None, ("",)),
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
def step_of(case):
    """One token of the recurrent form, compiled."""
    mixer, variables, _ = example(case)
    return jax.jit(lambda state, x_t: mixer.apply(variables, state, x_t, method="step"))


@functools.cache
def by_hand(case, kind):
    """States and outputs of the recurrent form, each state rewritten before the next token."""
    mixer, variables, x = example(case)
    entry = entries_of(other(case)[1][STATE])[kind]
    step = step_of(case)
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


def replaced(kind, site):
    """Interventions on sites of Mamba by values of another document."""
    theirs = other("mamba")[1]
    value = theirs[site]
    some = jax.random.bernoulli(jax.random.key(5), 0.2, value.shape)
    mixing = entries_of(value)["mixing"]
    kinds = {
        "whole": {"value": value},
        "position": {"value": value, "mask": at(AT, value)},
        "numbers": {"value": value, "mask": some},
        "mixing": {name: entry for name, entry in mixing.items() if name != "then"},
        "chain": {
            "value": value,
            "mask": at(AT - 1, value),
            "then": {"value": value, "mask": some},
        },
    }
    if kind == "all sites":
        return {name: {"value": theirs[name], "mask": at(AT, theirs[name])} for name in STATE_SITES}
    return {site: kinds[kind]}


def in_dtype(tree, dtype):
    """Numbers of a tree in another precision; masks stay what they are."""
    return jax.tree.map(lambda leaf: leaf if leaf.dtype == bool else leaf.astype(dtype), tree)


# Catches a loop over tokens, which runs without captures take, that rewrites another token's decay,
# write or state, reads before it has rewritten, or carries states in a narrow dtype.
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("site", STATE_SITES)
@pytest.mark.parametrize("kind", ["whole", "position", "numbers", "mixing", "chain", "all sites"])
def test_a_run_without_captures_gives_the_same(kind, site, dtype):
    if kind == "all sites" and site != "state":
        pytest.skip("the same for every site")
    mixer, variables, x = example("mamba")
    given = in_dtype(variables | {INTERVENTIONS: replaced(kind, site)}, dtype)

    def run(**captures):
        return jax.jit(lambda x: mixer.apply(given, x, **captures))(x.astype(dtype))

    seen = run(capture_intermediates=is_site, mutable=["intermediates"])[0]
    got, seen = (np.asarray(y, np.float32) for y in (run(), seen))
    exact = 1e-6 if dtype == "float32" else 2e-2
    np.testing.assert_allclose(got, seen, atol=exact * np.abs(seen).max())
    assert np.abs(seen - parallel("mamba")).max() > 1e-4


# Catches a loop that is taken where states are asked for, where attribution patching takes slopes,
# or where a parallel scan was asked for; and one that is never taken.
@pytest.mark.parametrize(
    ("kind", "backend", "captured", "taken"),
    [
        ("position", "sequential", False, True),
        ("position", "auto", False, jax.default_backend() == "cpu"),
        ("chain", "sequential", False, True),
        ("position", "sequential", True, False),
        ("position", "associative", False, False),
        ("position", "chunked", False, False),
        ("shift", "sequential", False, False),
        ("shift at last", "sequential", False, False),
        ("nothing", "sequential", False, False),
    ],
)
def test_which_runs_take_the_loop(kind, backend, captured, taken, monkeypatch):
    calls, loop = [], recurrence._token_by_token
    monkeypatch.setattr(
        recurrence, "_token_by_token", lambda *given: calls.append(given) or loop(*given)
    )
    mixer, variables, x = example("mamba")
    shift = {"shift": jnp.ones_like(other("mamba")[1][STATE])}
    entries = {
        "shift": {STATE: shift},
        "shift at last": {STATE: replaced("position", STATE)[STATE] | {"then": shift}},
        "nothing": {},
    }
    entry = entries[kind] if kind in entries else replaced(kind, STATE)
    captures = {"capture_intermediates": is_site, "mutable": ["intermediates"]} if captured else {}
    chosen = mixer.clone(scan_backend=backend)
    jax.eval_shape(lambda x: chosen.apply(variables | {INTERVENTIONS: entry}, x, **captures), x)
    assert bool(calls) is taken


# Catches a gradient that does not reach a value through the loop.
def test_gradients_of_a_replaced_state():
    mixer, variables, x = example("mamba")

    def answer(value, **captures):
        given = variables | {INTERVENTIONS: {STATE: {"value": value, "mask": at(AT, value)}}}
        y = mixer.apply(given, x, **captures)
        return jnp.sin(y[0] if captures else y).sum()

    value = other("mamba")[1][STATE]
    seen = {"capture_intermediates": is_site, "mutable": ["intermediates"]}
    expected = jax.jit(jax.grad(lambda value: answer(value, **seen)))(value)
    got = jax.jit(jax.grad(answer))(value)
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(expected).max() > 0


# Catches a state that goes into a recurrence before its shape is looked at.
@pytest.mark.parametrize("case", RECURRENCES)
def test_a_state_with_a_token_too_few_is_an_error(case):
    mixer, variables, x = example(case)
    short = {"value": other(case)[1][STATE][:, :-1]}
    with pytest.raises(UserError, match=f"{STATE}: the value is"):
        jax.eval_shape(lambda x: mixer.apply(variables | {INTERVENTIONS: {STATE: short}}, x), x)


# Catches a decay or write that the loop would broadcast.
@pytest.mark.parametrize("site", ["decay", "write"])
def test_an_entry_of_another_shape_is_an_error(site):
    mixer, variables, x = example("mamba")
    narrow = {"value": other("mamba")[1][site][:, :, :1]}
    with pytest.raises(UserError, match=f"{site}: the value is"):
        jax.eval_shape(lambda x: mixer.apply(variables | {INTERVENTIONS: {site: narrow}}, x), x)


# Catches slopes of logarithms that are divided by a decay near 0, of which they know nothing, and
# a slope that is lost where the decay is 0: outputs are affine in one number of one decay.
@pytest.mark.parametrize("value", [0.3, 1e-12, 1e-25, 0.0])
@pytest.mark.parametrize("case", ["kda", "gated_delta_net_2", "gla", "hgrn2", "rwkv7", "retnet"])
def test_slopes_of_strong_decays(case, value):
    mixer, variables, x = example(case)
    whole = other(case)[1]["decay"]
    strong = jnp.where(jax.random.bernoulli(jax.random.key(5), 0.3, whole.shape), value, whole)
    token = (0, AT, 0, whole.shape[3] - 1, 0)

    @jax.jit
    def answer(decay):
        entry = {"decay": {"value": strong.at[token].set(decay)}}
        seen = {"capture_intermediates": is_site, "mutable": ["intermediates"]}
        captured = mixer.apply(variables | {INTERVENTIONS: entry}, x, **seen)[1]["intermediates"]
        (heads,) = captured["head_output"]["__call__"]
        return (heads * jax.random.normal(jax.random.key(6), heads.shape)).sum()

    expected = answer(1.0) - answer(0.0)
    np.testing.assert_allclose(jax.grad(answer)(value), expected, rtol=1e-3, atol=1e-5)
    assert abs(float(expected)) > 1e-3
