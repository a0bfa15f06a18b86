"""The golden arrays: outputs of the reference study's own modules on seeded inputs.

`tests/golden/` holds copies of them. They came from the reference implementation (its
pinned mixers and mamba_ssm 2.2.4) and were reproduced independently in NumPy. They are
facts about another program: no change of ours is a reason to update them.
"""

import pathlib

import numpy as np

from mecheval_jax.mixers import Attention, BaseConv, Based, Hyena, Mamba

FOLDER = pathlib.Path(__file__).parent / "golden"

LIMIT = {"max_length": 64}
MIXERS = {
    "attention_d16_h1": Attention(16),
    "attention_d32_h2_bias": Attention(32, heads=2, bias=True),
    "base_conv_k3_d16": BaseConv(16, **LIMIT, kernel=3),
    "base_conv_k1_d16": BaseConv(16, **LIMIT, kernel=1),
    "base_conv_k4_d32": BaseConv(32, **LIMIT, kernel=4),
    "base_conv_k3_act_d16": BaseConv(16, **LIMIT, kernel=3, activation=True),
    "base_conv_implicit_d16": BaseConv(16, **LIMIT, kernel=None),
    "hyena_d16": Hyena(16, **LIMIT),
    "hyena_bias_d16": Hyena(16, **LIMIT, skip=True),
    "based_d16_h1": Based(16),
    "based_d32_h2": Based(32, heads=2),
    "based_linear_view_d16": Based(16),
    "hybrid_layer0_d16": BaseConv(16, **LIMIT, kernel=3),
    "hybrid_layer1_d16": Based(16),
    "mamba_d16": Mamba(16),
    "mamba_d32_dconv3": Mamba(32, d_conv=3),
    "mamba_d16_bias": Mamba(16, bias=True),
    "mamba_without_conv_d16": Mamba(16, d_conv=0),
    "mamba_no_causal_conv1d_d16": Mamba(16, d_conv=1),
}
LANGUAGE_MODELS = ("attention", "based", "hyena", "mamba")


def load(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The state dict and the other arrays of one file, e.g. ``mixer__mamba_d16``."""
    arrays = dict(np.load(FOLDER / f"{name}.npz"))
    state = {n.removeprefix("sd/"): a for n, a in arrays.items() if n.startswith("sd/")}
    return state, {n: a for n, a in arrays.items() if not n.startswith("sd/")}


def relative_error(ours, theirs) -> float:
    """max |ours - theirs| / max |theirs|."""
    theirs = np.asarray(theirs)
    return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())
