"""Parts of a family: fused layers, and fields that follow from several others."""

import pytest

from mecheval_jax.interop.huggingface_family import Fused, Mixer, of_mixer, share_of_width
from mecheval_jax.interop.state_dict import Target
from mecheval_jax.mixers import Attention, GatedAttention
from mecheval_jax.models.language_model import ModelConfig


# Catches a convolution with the layout of a dense layer, and a mixer without its fused layers.
def test_tables_of_fused_layers():
    dense = Fused("qk", {"q": "q_proj", "k": "k_proj"})
    taps = Fused("conv", {"q": "q_conv"}, taps=True)
    found = Mixer({"o.weight": Target("mixer/o_proj/kernel")}, (dense, taps)).whole()
    assert found["qk.weight (k)"] == Target("mixer/k_proj/kernel", "transpose")
    assert found["qk.bias (q)"] == Target("mixer/q_proj/bias")
    assert found["conv.weight (q)"] == Target("mixer/q_conv/weight", "taps")
    assert "o.weight" in found


# Catches a traceback where a field is no number, and an attribute of another layer's mixer.
def test_fields_that_follow_from_others():
    fields = {"heads": 2, "head_dim": 4, "hidden_size": 16}
    assert share_of_width(fields, "heads", "head_dim") == 0.5
    assert share_of_width(fields | {"heads": "two"}, "heads", "head_dim") is None
    assert share_of_width({}, "heads", "head_dim") is None
    options = {"heads": [4, 2]}
    config = ModelConfig("attention,gated_attention", 2, 16, 7, 9, mixer_options=options)
    assert of_mixer(GatedAttention, "heads")(config) == 2
    assert of_mixer(Attention, "head")(config) == 4


@pytest.mark.parametrize("heads", ["attention", "attention,attention"])
def test_models_without_a_mixer(heads):
    """Catches a derived field that is taken from a layer that is not there."""
    assert of_mixer(GatedAttention, "heads")(ModelConfig(heads, 2, 16, 7, 9)) is None
