r"""Mamba, attention, Based and BaseConv of width 128 on ATR with held-out pairs.

Question: does a wide Mamba generalise to pairs that training never asks, and is it ahead of the
others on those that it has seen (finding 24)? Does the answer of BaseConv leave the value (23)?

    python -m launch.sweep --config=configs/study/atr_wide_held_out.py --members_at_once=1 \
        --interventions=full --workdir=DIR/sweeps/atr_held_out_device
    python -m launch.study --only=atr_held_out --scale=device --workdir=DIR

The members are among those that `atr_held_out` has at the scale ``device``, each at the rate that
is the best in the study's plot. The second command finds them there, keeps to them, and asks them
seen pairs, too.

Expected (the study, one seed): seen pairs 89 to 98 %, held-out ones Mamba 59 %, attention 68 %,
Based 46 %, BaseConv 24 %.
"""

from ml_collections import ConfigDict

from configs.grids import Changes
from configs.study import atr_held_out
from configs.study.cells import run


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `atr_two_layers`."""
    return atr_held_out.get_config(arg)


def sweep() -> Changes:
    """Seed 0 of each at its best rate."""
    return [run(mixer, 128, 1e-3, 0) for mixer in ("mamba", "attention", "base_conv", "based")]
