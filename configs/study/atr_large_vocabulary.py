"""ATR with 8,192 terminals at width 32, attention and Mamba.

Question: does a large vocabulary put attention ahead of Mamba (finding 17), and Mamba's retrieval
into layer 1 (18, 19)?

    python -m launch.sweep --config=configs/study/atr_large_vocabulary.py --workdir=DIR

The members are two of those that `atr_languages` has at the scale ``device`` for each of both, with
seeds 0 and 1 at one learning rate: at this width two cores train them in two hours.

Expected (the study): 84 % for attention and 78 % for Mamba, whose answer comes back at the key
(0.87 of it) and hardly at the query.
"""

from ml_collections import ConfigDict

from configs.grids import Changes
from configs.study import atr_two_layers
from configs.study.atr_languages import mamba_and_attention


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `atr_two_layers`."""
    return atr_two_layers.get_config(arg)


def sweep() -> Changes:
    """Seeds 0 and 1 of both."""
    return mamba_and_attention("large", width=32, count=2)
