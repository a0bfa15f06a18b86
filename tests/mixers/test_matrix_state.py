"""What the mixers with a matrix for a state refuse, and what they share."""

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import (
    DeltaNet,
    GatedDeltaNet,
    GatedLinearAttention,
)
from tests.support.mixer_cases import example


# Catches a reshape that fails with a message about arrays where the config is at fault.
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DeltaNet(16, heads=3), r"16 channels.*3 heads"),
        (lambda: GatedLinearAttention(16, heads=16), r"8 channels.*16 heads"),
    ],
)
def test_shapes_that_do_not_divide(build, message):
    with pytest.raises(UserError, match=message):
        build()


# Catches a norm over all heads at once: what one head reads may not scale another's output.
def test_the_norm_is_of_each_head():
    mixer, variables, x = example("retnet")
    louder = jax.tree.map(lambda leaf: leaf, variables)
    value = louder["params"]["v_proj"]["kernel"]
    louder["params"]["v_proj"]["kernel"] = value.at[:, : value.shape[1] // 2].multiply(100.0)
    seen = [
        mixer.apply(v, x, capture_intermediates=lambda module, _: module.name == "o_norm")[1]
        for v in (variables, louder)
    ]
    before, after = (s["intermediates"]["o_norm"]["__call__"][0] for s in seen)
    np.testing.assert_allclose(after[:, :, 1], before[:, :, 1], rtol=1e-5)
    np.testing.assert_allclose(after[:, :, 0], before[:, :, 0], rtol=1e-2)


@pytest.mark.parametrize(("width", "heads", "channels"), [(3136, 32, 4096), (98, 2, 16)])
def test_channels_that_rounding_makes_no_whole_number(width, heads, channels):
    """Catches widths that are refused because channels over the width, times it, are not those."""
    share = channels / width
    mixer = GatedDeltaNet(width, heads=heads, key_share=share, value_share=share)
    assert (mixer.keys, mixer.values) == (channels, channels)
    with pytest.raises(UserError, match="not divisible by"):
        GatedDeltaNet(width, heads=heads, key_share=0.51, value_share=share)
