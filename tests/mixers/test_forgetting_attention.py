"""Forgetting attention: what its gates, norms and shift are, and shapes that cannot be."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import ForgettingAttention
from tests.support.mixer_cases import (
    AT,
    BATCH,
    LENGTH,
    WIDTH,
    assert_gives,
    at,
    dense,
    example,
    in_float64,
    rms_norm,
    sigmoid,
)


# Catches a gate of the source's own token, a shift that reads the next token or is mixed the other
# way round, and norms over all heads.
def test_pro_against_its_twin():
    mixer, params, x = in_float64("forgetting_attention_pro")
    heads, head = mixer.heads, WIDTH // mixer.heads
    before = np.concatenate([np.zeros((BATCH, 1, WIDTH)), x[:, :-1]], axis=1)
    log_forget = np.log(sigmoid(dense(x, params["f_proj"])))
    by_head = lambda h: h.reshape(BATCH, LENGTH, heads, head)

    def mixed(name):
        share = sigmoid(dense(x, params[f"{name}_mix"]))[..., None]
        now, then = (by_head(dense(h, params[f"{name}_proj"])) for h in (x, before))
        return share * then + (1 - share) * now

    scale = lambda name: params[name]["scale"].reshape(heads, head)
    q = rms_norm(by_head(dense(x, params["q_proj"]))) * scale("q_norm")
    k, v = rms_norm(mixed("k")) * scale("k_norm"), mixed("v")
    read = np.zeros((BATCH, LENGTH, heads, head))
    for t in range(LENGTH):
        scores = np.einsum("bhd,bshd->bsh", q[:, t], k[:, : t + 1]) / np.sqrt(head)
        scores += np.stack([log_forget[:, s + 1 : t + 1].sum(axis=1) for s in range(t + 1)], axis=1)
        weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        read[:, t] = np.einsum("bsh,bshd->bhd", weights, v[:, : t + 1])
    read /= np.sqrt((read**2).mean(axis=-1, keepdims=True) + 1e-6)
    read = (read * scale("o_norm")).reshape(BATCH, LENGTH, WIDTH)
    assert_gives(
        "forgetting_attention_pro",
        dense(read * sigmoid(dense(x, params["g_proj"])), params["out_proj"]),
    )


# Catches scores that a closed gate spoils though it is none of theirs: the parallel form has to
# read what the recurrent one does.
@pytest.mark.parametrize("case", ["forgetting_attention_pro", "path_attention_no_conv"])
@pytest.mark.parametrize("closed", [-np.inf, -1e7])
def test_closed_gates(case, closed):
    mixer, variables, x = example(case)
    value = jnp.full((BATCH, LENGTH, mixer.heads), closed)
    entry = {"value": value, "mask": at(AT, value)}
    replaced = variables | {"interventions": {"forget": entry}}
    read = lambda params, x: mixer.apply(replaced | {"params": params}, x)
    y = jax.jit(read)(variables["params"], x)
    step = jax.jit(lambda *arguments: mixer.apply(*arguments, method="step"))
    state = mixer.apply(variables, BATCH, LENGTH, method="initial_state")
    for t in range(LENGTH):
        now = {"value": value[:, :1], "mask": jnp.full((BATCH, 1, 1), t == AT)}
        state, y_t = step(variables | {"interventions": {"forget": now}}, state, x[:, t])
        np.testing.assert_allclose(y[:, t], y_t, atol=1e-5 * np.abs(y).max())
    slopes = jax.jit(jax.grad(lambda *given: (read(*given) ** 2).sum()))(variables["params"], x)
    chex.assert_tree_all_finite(slopes)


# Catches a reshape that fails with a message about arrays where the config is at fault.
def test_shapes_that_do_not_divide():
    with pytest.raises(UserError, match=r"16.*\b3 heads"):
        ForgettingAttention(16, heads=3)
