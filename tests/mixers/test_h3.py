"""H3: its two recurrences token by token, and shapes that cannot be."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import H3
from tests.support.mixer_cases import (
    BATCH,
    LENGTH,
    WIDTH,
    assert_gives,
    dense,
    discretized,
    in_float64,
)


# Catches a shift by one token more or less, heads whose channels are ordered otherwise on the way
# in than (head, i) or out than (j, head), and an outer product that is transposed.
def test_against_its_twin():
    mixer, params, x = in_float64("h3")
    q, k, v = (dense(x, params[f"{name}_proj"]) for name in "qkv")
    A_bar, C_bar = discretized(params["kernel"], mixer.discretization)
    shift, size = np.zeros((BATCH, WIDTH, mixer.state_size)), mixer.head_dim
    state = np.zeros((BATCH, size, size, *A_bar.shape), complex)
    out = np.zeros(x.shape)
    for t in range(LENGTH):
        shift = np.concatenate([np.zeros((BATCH, WIDTH, 1)), shift[..., :-1]], axis=-1)
        shift = shift + params["shift_B"] * k[:, t, :, None]
        shifted = (shift * params["shift_C"]).sum(axis=-1) + params["shift_D"] * k[:, t]
        by_head = [h.reshape(BATCH, mixer.heads, size) for h in (q[:, t], shifted, v[:, t])]
        written = np.einsum("bhi,bhj->bijh", *by_head[1:])
        state = A_bar * state + written[..., None]
        y = 2 * (C_bar * state).real.sum(axis=-1) + params["D"] * written
        out[:, t] = np.einsum("bhi,bijh->bjh", by_head[0], y).reshape(BATCH, WIDTH)
    assert_gives("h3", dense(out, params["out_proj"]))


# Catches a reshape that fails with a message about arrays where the config is at fault.
def test_shapes_that_do_not_divide():
    with pytest.raises(UserError, match=r"head_dim is 3: width 16 .* by 1 or 2 or 4$"):
        H3(16, 8, head_dim=3)
