"""Names and layouts of mixers' parameters in the reference study's code (arXiv 2505.15105)."""

import dataclasses
from collections.abc import Callable, Mapping

import flax.linen as nn
import numpy as np

from mecheval_jax import mixers
from mecheval_jax.interop.state_dict import (
    QKV,
    Table,
    Target,
    below,
    dense,
    parameters,
    short_convolution,
)
from mecheval_jax.mixers.filters import hyena_rates, linspace


def _no_entries(mixer: nn.Module) -> dict[str, np.ndarray]:
    del mixer
    return {}


@dataclasses.dataclass(frozen=True)
class Reference:
    """The form in which the reference stores a mixer.

    Attributes:
        table: Targets of its entries.
        fused: Dense layers stacked along the outputs, name -> names of the parts.
        by_head: Whether the outputs of these are ordered by head first, and by part within each.
        duplicates: Entries that store a parameter again, name -> original.
        constants: Function from the mixer to the entries that are constants.
        dead: Function from the mixer to the entries that are never read, with the values that
            an export writes.
        defaults: Fields of the mixer that have only their default in the reference.
        nonzero: Fields that the reference cannot have at 0, and why not.
        together: Entries that the mixer has both or neither of, and why, where the reference may
            have one of them alone.
        unsaid: Fields that have to be given, as the entries do not tell them, and their values.
    """

    table: Table
    fused: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    by_head: bool = False
    duplicates: Mapping[str, str] = dataclasses.field(default_factory=dict)
    constants: Callable[[nn.Module], dict[str, np.ndarray]] = _no_entries
    dead: Callable[[nn.Module], dict[str, np.ndarray]] = _no_entries
    defaults: tuple[str, ...] = ()
    nonzero: Mapping[str, str] = dataclasses.field(default_factory=dict)
    together: Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    unsaid: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def _constants_of_hyena(mixer: mixers.Hyena) -> dict[str, np.ndarray]:
    return {
        "filter_fn.pos_emb.t": linspace(0, 1, mixer.max_length)[None, :, None],
        "filter_fn.modulation.deltas": hyena_rates(mixer.width)[None, None],
    }


def _dead_of_mamba(mixer: mixers.Mamba) -> dict[str, np.ndarray]:
    """Without a convolution the reference still stores one, of 4 taps."""
    if mixer.d_conv:
        return {}
    inner = mixer.expand * mixer.width
    return {
        "conv1d.weight": np.zeros((inner, 1, 4), np.float32),
        "conv1d.bias": np.zeros(inner, np.float32),
    }


def _dead_of_gated_delta_net(mixer: mixers.GatedDeltaNet) -> dict[str, np.ndarray]:
    return {"D": np.ones(mixer.heads, np.float32)}


def _s4d_kernel(theirs: str) -> Table:
    table = parameters("log_dt", "B", "inv_A_real", "A_imag") | parameters("C", layout="first")
    return below(table, f"{theirs}.", "kernel/")


CONVOLVED = "the reference always has the short convolution"
WITHOUT_SILU = {"kernel": "without its convolutions this mixer has no silu, the reference keeps it"}
ATTENTION = Reference(
    dense(*QKV, "out_proj"),
    fused={"Wqkv": QKV},
    defaults=("key_heads", "out_bias", "window", "encoding"),
)
GATED_NORM = {"g_norm_swish_gate.weight": Target("o_norm/scale")}
DELTA_NET = (
    dense(*QKV, "b_proj", "o_proj")
    | {"o_norm.weight": Target("o_norm/scale")}
    | short_convolution("q_conv1d", "q_conv")
    | short_convolution("k_conv1d", "k_conv")
    | short_convolution("v_conv1d", "v_conv")
)

STUDY_MIXERS: dict[type[nn.Module], Reference] = {
    mixers.Attention: ATTENTION,
    mixers.SlidingWindowAttention: ATTENTION,
    mixers.BaseConv: Reference(
        dense("projection", "conv.mlp.0=filter/fc1", "conv.mlp.2=filter/fc2")
        | short_convolution("conv.conv", "conv")
        | {
            "conv.pos_emb.z": Target("filter/features", "first"),
            "conv.filter": Target("filter/taps", "transpose"),
        }
    ),
    mixers.Based: Reference(dense("proj_q", "proj_k", "proj_v", "proj_o"), defaults=("encoding",)),
    mixers.Hyena: Reference(
        dense("in_proj", "out_proj")
        | dense(*(f"filter_fn.implicit_filter.{2 * i}=filter/fc{i + 1}" for i in range(4)))
        | short_convolution("short_filter", "short_conv")
        | {
            "filter_fn.bias": Target("D"),
            "filter_fn.pos_emb.z": Target("filter/features", "first"),
            "filter_fn.implicit_filter.1.freq": Target("filter/frequency", "first"),
        },
        duplicates={
            f"filter_fn.implicit_filter.{i}.freq": "filter_fn.implicit_filter.1.freq"
            for i in (3, 5)
        },
        constants=_constants_of_hyena,
        nonzero={"kernel": CONVOLVED},
    ),
    mixers.H3: Reference(
        dense(*QKV, "output_linear=out_proj")
        | _s4d_kernel("kernel.kernel")
        | {
            "ssm_k_D": Target("shift_D"),
            "D": Target("D"),
            "ssm_k_kernel.kernel.B": Target("shift_B"),
            "ssm_k_kernel.kernel.C": Target("shift_C", "first"),
        }
    ),
    mixers.Mamba: Reference(
        dense("in_proj", "x_proj", "dt_proj", "out_proj")
        | short_convolution("conv1d", "conv")
        | parameters("A_log", "D"),
        dead=_dead_of_mamba,
        defaults=("gated",),
    ),
    mixers.Mamba2: Reference(
        dense("in_proj", "out_proj")
        | short_convolution("conv1d", "conv")
        | parameters("dt_bias", "A_log", "D")
        | {"norm.weight": Target("norm_scale")},
        defaults=("gated",),
    ),
    mixers.DeltaNet: Reference(DELTA_NET, nonzero=WITHOUT_SILU),
    mixers.GatedDeltaNet: Reference(
        DELTA_NET | dense("a_proj", "g_proj") | parameters("A_log", "dt_bias"),
        dead=_dead_of_gated_delta_net,
        nonzero=WITHOUT_SILU,
    ),
    mixers.GatedLinearAttention: Reference(
        dense(*QKV, "g_proj", "o_proj", "gk_proj.0=decay_down", "gk_proj.1=decay_up") | GATED_NORM,
    ),
    mixers.RetNet: Reference(dense(*QKV, "g_proj", "o_proj") | GATED_NORM),
    mixers.RWKV4: Reference(
        dense("key=k_proj", "value=v_proj", "receptance=r_proj", "output=out_proj")
        | parameters("time_decay", "time_first")
        | parameters(*(f"time_mix_{name}=mix_{name}" for name in "kvr"), layout="first_two")
    ),
}
