"""mLSTM: its equation, gates of any size, and shapes that cannot be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import MLSTM
from mecheval_jax.mixers.mlstm import inner_width
from tests.support import references
from tests.support.matrix_state import by_head
from tests.support.mixer_cases import (
    AT,
    BATCH,
    LENGTH,
    assert_gives,
    at,
    dense,
    example,
    in_float64,
    sigmoid,
    silu,
)


# Catches a normaliser that is never below 1 (it is below exp(-m)), gates that do not read the
# values, blocks that are transposed, and a skip before the norm. The twin has no stabiliser.
def test_against_its_twin():
    mixer, params, x = in_float64("mlstm")
    u, z = np.split(dense(x, params["up_proj"]), 2, axis=-1)
    c = silu(references.short_convolution(u, params["conv"]["weight"], params["conv"]["bias"]))
    blocks = lambda h: h.reshape(BATCH, LENGTH, -1, 4)
    maps = [(c, "q"), (c, "k"), (u, "v")]
    q, k, v = (
        np.einsum("blni,noi->blno", blocks(h), params[f"{n}_map"]).reshape(u.shape) for h, n in maps
    )
    joint = np.concatenate([q, k, v], axis=-1)
    i, f = (dense(joint, params[f"{n}_proj"]) for n in "if")
    q, k, v = (by_head(h, mixer.heads) for h in (q, k, v))
    k = k / np.sqrt(k.shape[-1]) * np.exp(i)[..., None]
    v = np.concatenate([v, np.ones_like(v[..., :1])], axis=-1)
    read = references.dplr(q, k, v, np.log(sigmoid(f))[..., None])
    heads = read[..., :-1] / np.maximum(np.abs(read[..., -1:]), 1)
    heads = heads - heads.mean(axis=-1, keepdims=True)
    heads = heads / np.sqrt((heads**2).mean(axis=-1, keepdims=True) + 1e-5)
    heads = heads.reshape(u.shape) * (1 + params["norm"]["scale"]) + params["skip"] * c
    assert_gives("mlstm", dense(heads * silu(z), params["down_proj"]))


# Catches an exponential that overflows: of gates around exp(200) only the ratios matter.
def test_gates_of_any_size():
    mixer, variables, x = example("mlstm")
    moved = jax.tree.map(lambda leaf: leaf, variables)
    moved["params"]["i_proj"]["bias"] = variables["params"]["i_proj"]["bias"] + 200.0
    y = mixer.apply(moved, x)
    assert np.isfinite(np.asarray(y)).all()
    further = jax.tree.map(lambda leaf: leaf, moved)
    further["params"]["i_proj"]["bias"] = moved["params"]["i_proj"]["bias"] + 50.0
    np.testing.assert_allclose(mixer.apply(further, x), y, rtol=1e-3, atol=1e-3)
    closed = jax.tree.map(lambda leaf: leaf, variables)
    closed["params"]["i_proj"]["bias"] = variables["params"]["i_proj"]["bias"] - 300.0
    slopes = jax.grad(lambda v: (mixer.apply(v, x) ** 2).sum())(closed)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(slopes))


# Catches differences of infinite logarithms: a gate that is shut is as one that is almost shut.
@pytest.mark.parametrize(("gate", "position"), [("input_gate", 0), ("forget_gate", AT)])
def test_gates_that_are_shut(gate, position):
    mixer, variables, x = example("mlstm")
    value = jnp.ones((BATCH, LENGTH, mixer.heads))

    def read(x, shut):
        entry = {"value": shut * value, "mask": at(position, value)}
        return mixer.apply(variables | {"interventions": {gate: entry}}, x)

    y = jax.jit(read)(x, -np.inf)
    np.testing.assert_allclose(y, jax.jit(read)(x, -1e4), atol=1e-5)
    slope = jax.jit(jax.grad(lambda x: (read(x, -np.inf) ** 2).sum()))(x)
    assert np.isfinite(np.asarray(slope)).all()
    step = jax.jit(lambda *arguments: mixer.apply(*arguments, method="step"))
    state = mixer.apply(variables, BATCH, LENGTH, method="initial_state")
    for t in range(LENGTH):
        mask = jnp.full((BATCH, mixer.heads), t == position)
        now = {gate: {"value": -jnp.inf * value[:, 0], "mask": mask}}
        state, y_t = step(variables | {"interventions": now}, state, x[:, t])
        np.testing.assert_allclose(y_t, y[:, t], atol=1e-5 * np.abs(y).max())


# Catches a reshape that fails with a message about arrays where the config is at fault.
def test_shapes_that_do_not_divide():
    assert [inner_width(width) for width in (16, 64, 80)] == [64, 128, 192]
    with pytest.raises(UserError, match=r"heads is 3: 64 inner channels.*3 heads.*2 or 4"):
        MLSTM(16, heads=3)
