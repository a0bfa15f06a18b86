"""Associations in recurrent states, and the quantities of Mamba one by one, against loops."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import (
    compose,
    erase_association,
    replace_association,
    write_association,
)
from mecheval_jax.interventions.capture import nested
from mecheval_jax.sites import INTERVENTIONS, is_site
from tests.mixers.test_mixer_sites import other
from tests.mixers.test_mixers import BATCH, LENGTH, example, parallel

STATE = "block_0/mixer/state"
POSITIONS = jnp.array([4, 2])
MATRICES = {
    "mamba": "ssm",
    "mamba2": "ssm",
    "based": "sums",
    "delta_net": "matrix",
    "kda": "matrix",
    "gated_delta_net_2": "matrix",
    "gated_delta_product": "matrix",
    "comba": "matrix",
    "rwkv7": "matrix",
    "gla": "matrix",
}
"""Mixers, and the name of the matrix in the state of their recurrent form."""


@functools.cache
def program_of(case):
    """Outputs and activations of a mixer under interventions on its sites."""
    mixer, variables, x = example(case)
    return jax.jit(
        lambda entries: mixer.apply(
            variables | {INTERVENTIONS: entries},
            x,
            capture_intermediates=is_site,
            mutable=["intermediates"],
        )
    )


def captured(case, entries=None):
    y, seen = program_of(case)(entries or {})
    return y, {name: value["__call__"][0] for name, value in seen["intermediates"].items()}


@functools.cache
def step_of(case):
    mixer, variables, _ = example(case)
    return jax.jit(lambda state, x_t: mixer.apply(variables, state, x_t, method="step"))


def in_a_model(activations):
    """A mixer's activations by the paths that they have in a model."""
    return {f"block_0/mixer/{name}": value for name, value in activations.items()}


def to_mixer(interventions):
    """What a mixer alone reads of interventions on a model."""
    return nested(interventions)["block_0"]["mixer"]


def vectors(state):
    """A key and a value for each document and head."""
    draw = np.random.default_rng(0)
    lead = (state.shape[0], *state.shape[2:-2])
    return (jnp.asarray(draw.normal(size=(*lead, n)), jnp.float32) for n in state.shape[-2:])


SURGERY = {
    "write": (
        lambda activations, key, value: write_association(
            activations, STATE, key, value, POSITIONS
        ),
        lambda S, k, v: S + np.outer(k, v),
    ),
    "replace": (
        lambda activations, key, value: replace_association(
            activations, STATE, key, value, POSITIONS
        ),
        lambda S, k, v: S - np.outer(k, k @ S) / (k @ k) + np.outer(k, v) / (k @ k),
    ),
    "erase": (
        lambda activations, key, value: erase_association(activations, STATE, key, POSITIONS),
        lambda S, k, v: S - np.outer(k, k @ S) / (k @ k),
    ),
}


def by_hand(case, change, key, value):
    """Outputs of the recurrent form whose state is changed after the token at POSITIONS."""
    mixer, variables, x = example(case)
    state = mixer.apply(variables, BATCH, LENGTH, method="initial_state")
    outputs = []
    for t in range(LENGTH):
        state, y_t = step_of(case)(state, x[:, t])
        matrix = np.array(state[MATRICES[case]])
        for b in np.flatnonzero(np.asarray(POSITIONS) == t):
            for head in np.ndindex(matrix.shape[1:-2]):
                here = (b, *head)
                matrix[here] = change(matrix[here], np.asarray(key[here]), np.asarray(value[here]))
        state = state | {MATRICES[case]: jnp.asarray(matrix)}
        outputs.append(y_t)
    return np.stack(outputs, axis=1)


def check(case, names, transform):
    mixer, variables, x = example(case)
    activations = captured(case)[1]
    key, value = vectors(activations["state"])
    run = transform(lambda e: mixer.apply(variables | {INTERVENTIONS: e}, x))
    for name in names:
        make, change = SURGERY[name]
        y = np.asarray(run(to_mixer(make(in_a_model(activations), key, value))))
        expected = by_hand(case, change, key, value)
        scale = np.abs(expected).max()
        for b, position in enumerate(np.asarray(POSITIONS)):
            before, after = np.s_[b, :position], np.s_[b, position + 1 :]
            np.testing.assert_allclose(y[after], expected[after], atol=2e-5 * scale)
            np.testing.assert_allclose(y[before], parallel(case)[before], atol=2e-5 * scale)
            assert np.abs(y[after] - parallel(case)[after]).max() > 1e-3 * scale


class Surgery(chex.TestCase):
    """Catches a key along the value's axis, a change that later tokens do not see, other tokens."""

    @chex.variants(with_jit=True, without_jit=True)
    def test_all_surgery(self):
        check("gla", SURGERY, self.variant)

    @chex.variants(with_jit=True)
    @parameterized.named_parameters((case, case) for case in MATRICES if case != "gla")
    def test_replacement_in_other_mixers(self, case):
        check(case, ("replace",), self.variant)


def test_a_state_answers_what_it_was_taught():
    """Catches an answer that is off by the key's length, and a fact that forgets another."""
    activations = captured("gla")[1]
    key, value = vectors(activations["state"])
    answer = lambda seen, key: jnp.einsum(
        "bhkv,bhk->bhv", seen["state"][jnp.arange(BATCH), POSITIONS], key
    )
    taught = replace_association(in_a_model(activations), STATE, key, value, POSITIONS)
    _, after = captured("gla", to_mixer(taught))
    np.testing.assert_allclose(answer(after, key), value, rtol=1e-4, atol=1e-4)
    # Orthogonal keys keep their answers.
    beside = jnp.roll(key, 1, axis=-1)
    along = (beside * key).sum(-1, keepdims=True) / (key * key).sum(-1, keepdims=True)
    beside = beside - along * key
    np.testing.assert_allclose(
        answer(after, beside), answer(activations, beside), rtol=1e-3, atol=1e-4
    )
    erased = erase_association(in_a_model(after), STATE, key, POSITIONS)
    _, then = captured("gla", to_mixer(compose(taught, erased)))
    np.testing.assert_allclose(answer(then, key), 0 * value, atol=1e-4)


def test_what_a_token_wrote_can_be_taken_out():
    """Catches a write of -v that is not what forgets the pair: the token's own write is undone."""
    activations = captured("mamba")[1]
    rows = jnp.arange(BATCH)
    at = lambda name: activations[name][rows, POSITIONS]
    patch = write_association(
        in_a_model(activations), STATE, at("B"), -at("dt") * at("x"), POSITIONS
    )
    _, seen = captured("mamba", to_mixer(patch))
    before = activations["state"][rows, POSITIONS - 1] * activations["decay"][rows, POSITIONS]
    np.testing.assert_allclose(
        seen["state"][rows, POSITIONS], before, atol=1e-5 * np.abs(before).max()
    )


def test_an_absent_position_and_a_key_of_zeros_change_nothing():
    """Catches -1 read as the last token, and a division by the length of no key."""
    activations = captured("gla")[1]
    key, value = vectors(activations["state"])
    nowhere = write_association(in_a_model(activations), STATE, key, value, jnp.array([-1, 4]))
    shift = np.asarray(nowhere[STATE]["shift"])
    assert not shift[0].any()
    assert shift[1, 4].any()
    nothing = replace_association(in_a_model(activations), STATE, 0 * key, value, POSITIONS)
    np.testing.assert_array_equal(nothing[STATE]["shift"], 0)


def test_one_position_of_each_document():
    """Catches columns after the first that are dropped, or given what the first one needs."""
    activations = in_a_model(captured("gla")[1])
    key, value = vectors(captured("gla")[1]["state"])
    column = jnp.asarray(POSITIONS)[:, None]
    for write in (write_association, replace_association):
        one, same = (write(activations, STATE, key, value, p) for p in (POSITIONS, column))
        shifts = [tree[STATE]["shift"] for tree in (one, same)]
        np.testing.assert_array_equal(*shifts)
        with pytest.raises(UserError, match="2 columns of positions"):
            write(activations, STATE, key, value, jnp.concatenate([column, column], axis=1))


@pytest.mark.parametrize(
    ("case", "site", "size", "message"),
    [
        ("lstm", "state", (16, 16), "no state that sums keys times values"),
        ("rwkv4", "state", (3, 16), "no state that sums keys times values"),
        ("gla", "write", (4, 8), "no state that sums keys times values"),
        ("gla", "state", (8, 4), r"the key is \[8\], it must be \[2, 2, 4\] or the last"),
        ("gla", "state", (4, 4), r"the value is \[4\], it must be \[2, 2, 8\] or the last"),
    ],
)
def test_states_that_hold_no_associations(case, site, size, message):
    """Catches an LSTM's or RWKV's sums cut as if they were matrices, and a shape broadcast."""
    activations = in_a_model(captured(case)[1])
    key, value = (jnp.ones(n) for n in size)
    with pytest.raises(UserError, match=message):
        write_association(activations, f"block_0/mixer/{site}", key, value, POSITIONS)


def mamba_by_hand(values, silu, params):
    """The output of a Mamba from the quantities at its sites, in a loop over tokens."""
    h = np.zeros((BATCH, *values["write"].shape[2:]))
    outputs = np.zeros(values["x"].shape)
    for t in range(LENGTH):
        h = values["decay"][:, t] * h + values["write"][:, t]
        outputs[:, t] = np.einsum("bni,bn->bi", h, values["C"][:, t])
    outputs = outputs + params["D"] * values["x"]
    return outputs * silu(values["gate"]) @ params["out_proj"]["kernel"]


# Catches a quantity that reaches further than it should (x into B, C and dt, which are computed
# beside it), or not as far (dt into decay and write).
@pytest.mark.parametrize("name", ["x", "B", "C", "dt", "gate", "write", "decay"])
def test_the_quantities_of_mamba_one_by_one(name):
    mixer, variables, x = example("mamba")
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    own = {site: np.asarray(v, np.float64) for site, v in captured("mamba")[1].items()}
    theirs = other("mamba")[1][name]
    mask = np.arange(LENGTH)[None, :] == np.asarray(POSITIONS)[:, None]
    wide = mask.reshape(*mask.shape, *(1,) * (theirs.ndim - 2))
    own[name] = np.where(wide, theirs, own[name])
    if name == "dt":
        own["decay"] = np.exp(own["dt"][:, :, None] * -np.exp(params["A_log"]).T)
    if name in ("x", "B", "dt"):
        own["write"] = own["B"][..., None] * (own["dt"] * own["x"])[:, :, None]
    expected = mamba_by_hand(own, lambda z: z / (1 + np.exp(-z)), params)
    entry = {"value": theirs, "mask": jnp.asarray(wide)}
    y = jax.jit(lambda e: mixer.apply(variables | {INTERVENTIONS: {name: e}}, x))(entry)
    np.testing.assert_allclose(y, expected, atol=3e-5 * np.abs(expected).max())
    assert np.abs(expected - parallel("mamba")).max() > 1e-3
