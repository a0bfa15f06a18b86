"""ATR with expansions of up to ten symbols (L = 10) at width 16, attention and Mamba.

Question: does Mamba recall more than attention in long documents (finding 16)?

    python -m launch.sweep --config=configs/study/atr_long_expansions.py --workdir=DIR

The members are two of those that `atr_languages` has at the scale ``device``, with seed 0 at one
learning rate: documents have 47 tokens on average and up to a thousand, so that a core needs about
an hour for each even at this width.

Expected (the study): 51 % for attention and 77 % for Mamba.
"""

from ml_collections import ConfigDict

from configs.grids import Changes
from configs.study import atr_two_layers
from configs.study.atr_languages import mamba_and_attention


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `atr_two_layers`."""
    return atr_two_layers.get_config(arg)


def sweep() -> Changes:
    """Seed 0 of both."""
    return mamba_and_attention("medium", width=16, count=1)
