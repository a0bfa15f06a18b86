"""Names and layouts of the delta family's parameters in the code of others.

That is fla-org/flash-linear-attention, and BlinkDL/RWKV-LM for RWKV-7.
"""

import flax.linen as nn
import numpy as np

from mecheval_jax import mixers
from mecheval_jax.interop.reference_tables import DELTA_NET, WITHOUT_SILU, Reference
from mecheval_jax.interop.state_dict import dense, parameters
from mecheval_jax.mixers.rwkv7_start import MIXTURES, RANKS, rank_of

GATED = DELTA_NET | dense("a_proj", "g_proj") | parameters("A_log", "dt_bias")
KDA = DELTA_NET | parameters("A_log", "dt_bias")
KDA |= dense("f_proj.0=decay_down", "f_proj.1=decay_up", "g_proj.0=gate_down", "g_proj.1=gate_up")


def _dead_of_rwkv7(mixer: mixers.RWKV7) -> dict[str, np.ndarray]:
    """The first layer stores maps that mix its values with its own, and never reads them."""
    if mixer.layer:
        return {}
    rank = mixer.v_rank or rank_of("v", mixer.width)
    shapes = {"v0": (1, 1, mixer.width), "v1": (mixer.width, rank), "v2": (rank, mixer.width)}
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


ROWS = ("w0", "a0", "v0", "k_k", "k_a", *(f"x_{name}" for name in MIXTURES))
RWKV7 = dense("receptance=r_proj", "key=k_proj", "value=v_proj", "output=o_proj")
RWKV7 |= parameters(*ROWS, layout="first_two")
RWKV7 |= parameters("r_k", *(f"{name}{i}" for name in RANKS for i in (1, 2)))
RWKV7 |= parameters("ln_x.weight=ln_scale", "ln_x.bias=ln_bias")

DELTA_FAMILY: dict[type[nn.Module], Reference] = {
    mixers.KDA: Reference(KDA, nonzero=WITHOUT_SILU),
    mixers.GatedDeltaNet2: Reference(KDA | dense("w_proj"), nonzero=WITHOUT_SILU),
    mixers.GatedDeltaProduct: Reference(GATED, nonzero=WITHOUT_SILU),
    mixers.RWKV7: Reference(RWKV7, dead=_dead_of_rwkv7),
    mixers.Comba: Reference(GATED | parameters("D", "decay=decay_logit"), nonzero=WITHOUT_SILU),
}
