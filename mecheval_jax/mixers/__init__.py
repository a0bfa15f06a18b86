"""The sequence mixers, built by name.

A mixer is a causal Flax module ``x [batch, length, width] -> [batch, length, width]``; given
``positions [batch, queries]``, it returns the outputs at those positions alone. Its recurrent
form is ``initial_state(batch, max_length)`` and ``step(state, x_t) -> (state, y_t)``. Its ``SITES``
name the activations that can be captured and replaced.
"""

from mecheval_jax.mixers.architectures import (
    ARCHITECTURES,
    CONTEXT,
    Architecture,
    MixerContext,
    architectures_of,
    build_mixer,
    mixer_of,
)
from mecheval_jax.mixers.attention import Attention, SlidingWindowAttention
from mecheval_jax.mixers.base_conv import BaseConv
from mecheval_jax.mixers.based import Based
from mecheval_jax.mixers.comba import Comba
from mecheval_jax.mixers.delta_net import DeltaNet, GatedDeltaNet
from mecheval_jax.mixers.delta_product import GatedDeltaProduct
from mecheval_jax.mixers.forgetting_attention import ForgettingAttention, ForgettingAttentionPro
from mecheval_jax.mixers.gated_attention import GatedAttention
from mecheval_jax.mixers.gated_slot_attention import GatedSlotAttention
from mecheval_jax.mixers.gla import GatedLinearAttention
from mecheval_jax.mixers.h3 import H3
from mecheval_jax.mixers.hgrn2 import HGRN2
from mecheval_jax.mixers.hyena import Hyena
from mecheval_jax.mixers.kda import KDA, GatedDeltaNet2
from mecheval_jax.mixers.log_linear_mamba2 import LogLinearMamba2
from mecheval_jax.mixers.lstm import LSTM
from mecheval_jax.mixers.mamba import Mamba
from mecheval_jax.mixers.mamba2 import Mamba2
from mecheval_jax.mixers.mamba3 import Mamba3
from mecheval_jax.mixers.mesa_net import MesaNet
from mecheval_jax.mixers.mlstm import MLSTM
from mecheval_jax.mixers.path_attention import PathAttention
from mecheval_jax.mixers.retnet import RetNet
from mecheval_jax.mixers.rwkv import RWKV4
from mecheval_jax.mixers.rwkv7 import RWKV7
from mecheval_jax.mixers.s4d import S4D
from mecheval_jax.mixers.softmax_attention import SoftmaxAttention

__all__ = [
    "ARCHITECTURES",
    "CONTEXT",
    "H3",
    "HGRN2",
    "KDA",
    "LSTM",
    "MLSTM",
    "RWKV4",
    "RWKV7",
    "S4D",
    "Architecture",
    "Attention",
    "BaseConv",
    "Based",
    "Comba",
    "DeltaNet",
    "ForgettingAttention",
    "ForgettingAttentionPro",
    "GatedAttention",
    "GatedDeltaNet",
    "GatedDeltaNet2",
    "GatedDeltaProduct",
    "GatedLinearAttention",
    "GatedSlotAttention",
    "Hyena",
    "LogLinearMamba2",
    "Mamba",
    "Mamba2",
    "Mamba3",
    "MesaNet",
    "MixerContext",
    "PathAttention",
    "RetNet",
    "SlidingWindowAttention",
    "SoftmaxAttention",
    "architectures_of",
    "build_mixer",
    "mixer_of",
]
