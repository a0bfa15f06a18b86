"""Canon-B, the convolution of queries, keys and values together, in every mixer that has it."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import ARCHITECTURES, MixerContext, build_mixer
from mecheval_jax.mixers.architectures import fields_of
from tests.support import references
from tests.support.mixer_cases import capture, example, in_float64

WITH_CANON = {name for name, known in ARCHITECTURES.items() if "canon" in fields_of(known.mixer(1))}


# Catches a convolution without its residual, or of the three parts in another order.
@pytest.mark.parametrize("case", ["attention_canon", "gla_canon", "delta_product_canon"])
def test_canon_b_stands_between_the_sites(case):
    mixer, params, _ = in_float64(case)
    _, _, x = example(case)
    seen = {name: np.asarray(value) for name, value in capture(case, x).items()}
    parts = [seen[f"{name}_input"] for name in "qkv"]
    u, taps = np.concatenate(parts, axis=-1), params["qkv_canon"]
    u = u + references.short_convolution(u, taps["weight"], taps["bias"])
    ends = np.cumsum([part.shape[-1] for part in parts])[:-1]
    for name, part in zip("qkv", np.split(u, ends, axis=-1), strict=True):
        flat = seen[name].reshape(part.shape)
        np.testing.assert_allclose(flat, part, atol=1e-5 * np.abs(part).max())
    assert mixer.local_reach() == dict.fromkeys("qkv", len(taps["weight"]) - 1)


def test_who_has_it():
    """Catches a mixer with queries, keys and values that a sweep over canon_at cannot cross."""
    softmax = {name for name in ARCHITECTURES if "attention" in name}
    softmax -= {"gated_slot_attention", "taylor_attention"}
    delta = {"delta_net", "gated_delta_net", "gated_delta_net_2", "gated_delta_product"}
    assert softmax | delta | {"kda", "comba", "gla", "retnet"} == WITH_CANON


# Catches a Canon-B that no mixer hears of.
@pytest.mark.parametrize("name", ["mamba", "hgrn2"])
def test_canon_b_without_queries_keys_and_values(name):
    with pytest.raises(UserError, match=rf"canon_at has B.*'{name}'"):
        build_mixer(name, MixerContext(0, 2, 16, 12, canon=4))
    build_mixer(f"{name},gla", MixerContext(0, 2, 16, 12, canon=4))  # layer 1 has it


def test_one_convolution_or_the_other():
    """Catches two convolutions in a row where one was asked for."""
    context = MixerContext(0, 2, 16, 12, canon=4)
    with pytest.raises(UserError, match=r"canon_at has B, and .*kernel is 4: .* with kernel 0"):
        build_mixer("gated_delta_net", context)
    mixer = build_mixer("gated_delta_net", context, {"kernel": 0})
    assert mixer.local_reach() == {"q": 3, "k": 3, "v": 3}
