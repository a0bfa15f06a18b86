"""States of equal size: found where they can be, and the nearest named where not."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.memory.equal_states import equal_state, layer_bytes
from mecheval_jax.models.language_model import ModelConfig


# Catches a state counted with the tokens of its convolution, of another layer, or in numbers.
@pytest.mark.parametrize(
    ("mixer", "options"),
    [
        ("mamba", {"d_state": 4}),
        ("gated_delta_net", {"key_share": 0.25}),
        ("retnet", {"key_share": 0.25}),
        ("rwkv7", {"heads": 2}),
    ],
)
def test_a_state_of_so_many_bytes(mixer, options):
    assert equal_state(mixer, 16, 512) == options
    assert layer_bytes(ModelConfig(mixer, 1, 16, 8, 8, mixer_options=options)) == 512


def test_the_smallest_states():
    """Catches a smaller state that cannot be and ends the search."""
    assert equal_state("retnet", 16, 256) == {"key_share": 0.125}


def test_heads_of_an_mlstm():
    """Catches numbers of heads that divide its inner width and not the model's."""
    assert equal_state("mlstm", 40, 4672) == {"heads": 16}


# Catches a size that is rounded in silence.
def test_states_that_cannot_be():
    told = r"mamba of width 16 has none; the nearest: 512 \(d_state=4\) and 640 \(d_state=5\)"
    with pytest.raises(UserError, match=told):
        equal_state("mamba", 16, 520)
    with pytest.raises(UserError, match=r"has none; the nearest: 128 \(d_state=1\)$"):
        equal_state("mamba", 16, 2)
    # The matrices of mLSTM have a column more, for the sums of keys.
    told = r"the nearest: 2,336 \(heads=8\) and 4,368 \(heads=4\)"
    with pytest.raises(UserError, match=told):
        equal_state("mlstm", 32, 4096)
    # A RetNet of one key channel cannot be.
    with pytest.raises(UserError, match=r"the nearest: 256 \(key_share=0.125\)$"):
        equal_state("retnet", 16, 255)
    with pytest.raises(UserError, match="head_dim is 64: 16 inner channels do not divide"):
        equal_state("mamba2", 8, 512)
    with pytest.raises(UserError, match="mixer whose state can be scaled 'attention'"):
        equal_state("attention", 16, 512)
    with pytest.raises(UserError, match="width 0: at least 1"):
        equal_state("mamba", 0, 512)
    with pytest.raises(UserError, match="size of the state -5: at least 1"):
        equal_state("mamba", 16, -5)
