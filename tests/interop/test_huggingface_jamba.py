"""Jamba: which of its checkpoints are read, and which models are written as one."""

import dataclasses

import pytest

from mecheval_jax.interop import huggingface
from mecheval_jax.interop.huggingface_config import read_config, write_config
from tests.support.huggingface import folder_of, loaded, refusal

pytest.importorskip("safetensors")


# Catches layers of experts that are read as dense ones.
def test_experts_are_refused(tmp_path):
    folder = folder_of(tmp_path, "jamba", {"num_experts": 4})
    assert "layers with experts is 1: valid is 0" in refusal(huggingface.load, folder)


def hybrid(*mixers):
    """A model that could be a Jamba of these layers."""
    config, _ = loaded("jamba")
    options = {"inner_norms": True, "epsilon": config.norm_epsilon}
    options |= {"out_bias": False} if "attention" in mixers else {}
    fields = {"mixer": ",".join(mixers), "layers": len(mixers), "mixer_options": options}
    return dataclasses.replace(config, **fields)


# Catches a period that is counted from the first layer.
@pytest.mark.parametrize("attends", [(), (0,), (3,), (1, 3), (0, 2, 4)])
def test_layers_that_a_period_gives(attends):
    config = hybrid(*("attention" if i in attends else "mamba" for i in range(5)))
    _, read = read_config(write_config(config))
    assert [type(read.build_mixer(i)).__name__ == "Attention" for i in range(5)] == [
        i in attends for i in range(5)
    ]


# Catches layers that no period gives, and a Mamba without the norms, written as another model.
def test_models_that_are_no_jamba():
    message = refusal(write_config, hybrid("attention", "attention", "mamba"))
    assert "model.mixer is 'mamba', there 'attention'" in message
    plain = hybrid("mamba", "attention")
    options = dict(plain.mixer_options) | {"inner_norms": False}
    message = refusal(write_config, dataclasses.replace(plain, mixer_options=options))
    assert "mixer_options.inner_norms is False, there True" in message
