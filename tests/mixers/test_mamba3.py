"""Mamba-3: its equation, its sites, and shapes that cannot be."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import Mamba3
from tests.support import observed, planted, planted_states, references
from tests.support.mixer_cases import (
    BATCH,
    LENGTH,
    assert_gives,
    capture,
    dense,
    example,
    in_float64,
    rms_norm,
    sigmoid,
    silu,
    softplus,
)


# Catches a plane of the wrong channels, angles that start a token late, a decay that is not dt A,
# and a share that goes to the wrong token.
def test_against_its_twin():
    mixer, params, x = in_float64("mamba3")
    heads, state, inner, planes = mixer.heads, mixer.d_state, 32, mixer.planes
    sizes = np.cumsum([inner, inner, state, state, heads, heads, heads])
    z, u, B, C, dt, rate, share, phi = np.split(dense(x, params["in_proj"]), sizes, axis=-1)
    dt, share = softplus(dt + params["dt_bias"]), sigmoid(share)
    rate = np.where(rate >= 0, 1 + rate, 1 / (1 - np.minimum(rate, 0)))
    theta = np.cumsum(np.pi * np.tanh(phi)[:, :, None] * dt[..., None], axis=1)

    def direction(h, name):
        h = (rms_norm(h) * params[f"{name}_norm"]["scale"])[:, :, None]
        pairs = (h + params[f"{name}_bias"][:, 0]).reshape(BATCH, LENGTH, heads, -1, 2)
        turned = pairs[..., 0] + 1j * pairs[..., 1]
        turned[..., :planes] *= np.exp(1j * theta)
        return np.stack([turned.real, turned.imag], axis=-1).reshape(BATCH, LENGTH, heads, 1, state)

    u = u.reshape(BATCH, LENGTH, heads, 1, -1)
    y = references.trapezoid(
        direction(C, "C"), direction(B, "B"), u, -rate * dt, share * dt, (1 - share) * dt
    )
    y = (y + params["D"][:, None, None] * u).reshape(BATCH, LENGTH, inner) * silu(z)
    assert (heads, planes, phi.shape[-1]) == (4, 2, 2)
    assert_gives("mamba3", dense(y, params["out_proj"]))


# Catches a write in the axes of the state: those depend on all tokens before.
def test_the_write_is_of_two_tokens():
    _, _, x = example("mamba3")
    seen, later = (capture("mamba3", h)["write"] for h in (x, x.at[:, :3].add(1.0)))
    np.testing.assert_array_equal(seen[:, 4:], later[:, 4:])
    assert np.abs(np.asarray(seen - later)[:, 3]).max() > 1e-3


# Catches a reshape that fails with a message about arrays where the config is at fault.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head_dim": 24}, r"32 inner channels.*heads of 24"),
        ({"d_state": 7}, "d_state is 7: the state of mamba3 has an even size"),
        ({"turned": 1.5, "d_state": 8}, r"turned is 1.5: .* 12 channels.*at most 8"),
        ({"turned": 0.5, "d_state": 2}, r"turned is 0.5: .* 1 channels; .* at least 2"),
    ],
)
def test_shapes_that_do_not_divide(options, message):
    with pytest.raises(UserError, match=message):
        Mamba3(16, **({"head_dim": 8} | options))


# Catches a trapezoid that is taken for a write of one token: with it, and with it alone, one layer
# without a convolution recalls.
def test_one_layer_recalls_by_the_trapezoid():
    config, params, task = planted_states.trapezoid()
    batch = planted.documents(task, 32)
    assert observed.accuracy(config, params, batch) == 1
    assert observed.accuracy(config, planted_states.trapezoid(own=True)[1], batch) < 0.5


# Catches a verdict that looks for the pair in other sites than the write of two tokens.
def test_the_verdict_on_the_trapezoid():
    verdict = planted.verdict_of(planted_states.trapezoid())
    assert (verdict.verdict, verdict.layer) == ("convolutional_binding", 0)
    assert verdict.binding == "convolution_at_value"
