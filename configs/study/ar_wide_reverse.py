r"""Attention and Based of width 256 on AR asked the other way round, with three layers.

Question: do those that hold a pair at its later token fail to learn it in a wide model, where they
learn it at width 64 (finding 26)?

    python -m launch.sweep --config=configs/study/ar_wide_reverse.py --members_at_once=1 \
        --interventions=full --workdir=DIR

The rate is 1e-4: the study says that it is the only one at which Based of this width recalls more
than chance, and attention of this width is best at it on the question asked forwards. At the rates
that are best at width 64 a failure would say nothing about width.

Expected (the study, one seed): attention 6 %, Based 20 %.
"""

from ml_collections import ConfigDict

from configs.grids import Changes
from configs.study import ar_reverse
from configs.study.cells import run


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_reverse.get_config(arg)


def sweep() -> Changes:
    """Seed 0 of each."""
    return [run(mixer, 256, 1e-4, 0) | {"model.layers": 3} for mixer in ("attention", "based")]
