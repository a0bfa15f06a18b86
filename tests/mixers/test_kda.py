"""Kimi Delta Attention and Gated DeltaNet-2: their equations."""

import numpy as np
import pytest

from tests.support import planted, planted_states, references
from tests.support.matrix_state import by_head, out, projections
from tests.support.mixer_cases import (
    BATCH,
    LENGTH,
    assert_gives,
    capture,
    dense,
    example,
    in_float64,
    sigmoid,
    softplus,
)


# Catches a decay of another channel or without its rate, a bound that is none, what is erased read
# before the decay, and the shares of Gated DeltaNet-2 in each other's place.
@pytest.mark.parametrize("case", ["kda", "kda_no_conv", "gated_delta_net_2"])
def test_against_their_twin(case):
    mixer, params, x = in_float64(case)
    q, k, v = projections(mixer, params, x)
    q, k = (h / np.sqrt((h**2).sum(axis=-1, keepdims=True) + 1e-6) for h in (q, k))
    low_rank = lambda name, x: dense(dense(x, params[f"{name}_down"]), params[f"{name}_up"])
    f, rate = low_rank("decay", x) + params["dt_bias"], np.exp(params["A_log"])[:, None]
    f = by_head(f, mixer.heads)
    log_decay = -5 * sigmoid(rate * f) if mixer.bounded else -rate * softplus(f)
    shares = sigmoid(dense(x, params["b_proj"]))
    if "w_proj" in params:
        erased = by_head(shares, mixer.heads) * k
        u = by_head(sigmoid(dense(x, params["w_proj"])), mixer.heads) * v
    else:
        erased, u = shares[..., None] * k, shares[..., None] * v
    q = q / np.sqrt(q.shape[-1])
    heads = references.dplr(q, k, u, log_decay, erased * np.exp(log_decay))
    gate = sigmoid(low_rank("gate", x))
    assert_gives(case, out(mixer, params, x, heads, gate))


# Catches an erasing that hangs on the writing: with its matrix replaced by zeros the token writes
# all the same, and nothing of the state is taken.
def test_erase_and_write_are_apart():
    seen = capture("kda", example("kda")[2])
    assert seen["erase"].shape == (BATCH, LENGTH, 2, 8, 8)
    decayed = seen["decay"][:, 1:] * seen["state"][:, :-1]
    erased = seen["erase"][:, 1:] @ seen["state"][:, :-1]
    expected = decayed + erased + seen["write"][:, 1:]
    np.testing.assert_allclose(seen["state"][:, 1:], expected, atol=1e-5)
    assert np.abs(erased).max() > 0.01 * np.abs(decayed).max()


# Catches a verdict that does not see that convolutions of keys and values bind the pair.
def test_the_verdict_on_its_convolutions():
    verdict = planted.verdict_of(planted_states.kda_convolution())
    assert (verdict.verdict, verdict.layer) == ("convolutional_binding", 0)
    assert verdict.binding == "convolution_at_value"
