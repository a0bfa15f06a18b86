"""Based on AR with another kernel in layer 0.

Expected (the study, width 64): kernel 1 3.4 %, kernels 2 to 4 97 to 99 %, an implicit long one
3.8 %; 3 is the default, in `ar_two_layers`.

Question: does Based need a short convolution, and how long a one?

    python -m launch.sweep --config=configs/study/based_kernels.py --workdir=DIR
    python -m launch.study --only=based_kernels --scale=laptop --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.grids import Changes, axis
from configs.study import ar_two_layers
from configs.study.cells import cells

KERNELS = (1, 2, 4, "implicit")


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_two_layers.get_config(arg)


def runs(scale: str) -> Changes:
    """Every kernel at the widths, learning rates and seeds of a scale."""
    options = axis("model.mixer_options", [{"kernel": kernel} for kernel in KERNELS])
    return cells("based_kernels", scale, ("based",), options)


def sweep() -> Changes:
    """Every kernel on the study's grid."""
    return runs("full")
