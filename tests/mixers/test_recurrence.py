"""States of recurrences that are replaced and rewritten, in every backend."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
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


# Catches a loop over tokens, which runs without captures take, that rewrites another token's decay,
# write or state, or reads before it has rewritten.
@pytest.mark.parametrize("site", ["decay", "write", "state"])
@pytest.mark.parametrize("kind", ["position", "whole", "mixing"])
def test_a_run_without_captures_gives_the_same(site, kind):
    mixer, variables, x = example("mamba")
    value = other("mamba")[1][site]
    entry = {
        "position": {"value": value, "mask": at(AT, value)},
        "whole": {"value": value},
        "mixing": {name: e for name, e in entries_of(value)["mixing"].items() if name != "then"},
    }[kind]

    def run(**captures):
        given = variables | {INTERVENTIONS: {site: entry}}
        return jax.jit(lambda x: mixer.apply(given, x, **captures))(x)

    seen = run(capture_intermediates=is_site, mutable=["intermediates"])[0]
    np.testing.assert_allclose(run(), seen, atol=1e-6 * np.abs(seen).max())
    assert np.abs(seen - parallel("mamba")).max() > 1e-4


# Catches an entry that broadcasting would take as it is, where the loop alone sees it.
@pytest.mark.parametrize("site", ["decay", "write", "state"])
def test_an_entry_of_another_shape_is_an_error(site):
    mixer, variables, x = example("mamba")
    value = other("mamba")[1][site][:, :, :1]
    with pytest.raises(UserError, match=f"{site}: the value is"):
        mixer.apply(variables | {INTERVENTIONS: {site: {"value": value}}}, x)
