"""Three more seeds of the cells of AR whose interval holds a finding's threshold.

Question: on which side of the threshold do attention of width 32 (finding 1: 97.5 %), Based of
widths 32 and 64 (finding 2: 91 and 97 %) and Based with four taps (finding 13: 95 %) lie?

    python -m launch.sweep --config=configs/study/ar_undecided_cells.py --workdir=DIR

Task, training set, training length and learning rates are those of `ar_laptop`; the seeds are the
three that follow the ones there. The number of them was fixed before any was run, so that runs were
not added until a finding held. It takes about an hour and a quarter on a core.

Expected (the study, its best of seven rates with one seed each): 100, 93, 99 and 97 %.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.grids import Changes, axis, chain, mixers, product, seeds
from configs.study import ar_laptop


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_laptop.get_config(arg)


def sweep() -> Changes:
    """Three seeds of each cell, the narrow ones first."""
    return chain(
        _cell("attention", 32, 1e-3, known=3),
        _cell("based", 32, 3e-3, known=3),
        _cell("based", 64, 3e-3, known=2, changes={"model.mixer_options": {"kernel": 4}}),
        _cell("based", 64, 3e-3, known=3),
    )


def _cell(
    mixer: str, width: int, rate: float, known: int, changes: dict[str, Any] | None = None
) -> Changes:
    """Seeds `known` to known + 2 of a mixer."""
    cell = product(mixers([mixer]), axis("model.width", [width]), [changes or {}])
    return product(cell, axis("training.learning_rate", [rate]), seeds(known + 3)[known:])
