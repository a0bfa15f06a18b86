"""Cells of AR that fail, or differ from the study, at the one learning rate of `ar_laptop`.

Question: do they fail at another rate too? Two taps of Mamba give 1.6 % at 1e-2 and 79 % at 3e-3,
so that one rate alone does not say that an architecture cannot recall.

    python -m launch.sweep --config=configs/study/ar_second_rates.py --workdir=DIR

Width 64, the study's task, training set and length. Attention of one layer, Mamba without its
convolution and Based with a kernel of one tap or an implicit one have the rate next to that of
`ar_laptop` and `ar_layers` with one seed; Based with four taps, of which seeds differ at the best
rate, has three; Mamba with two taps has two more seeds at the rate at which it recalls. It takes
about an hour and a half on a core.

Expected (the study, its best of seven rates): 9, 3, 3 and 4 % for the four, 97 % for Based with
four taps, 91 % for Mamba with two.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.grids import Changes, axis, chain, mixers, product, seeds
from configs.study import ar_laptop


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_laptop.get_config(arg)


def sweep() -> Changes:
    """The five cells at a second rate, and seeds 1 and 2 of Mamba with two taps."""
    two_taps = cell("mamba", 3e-3, {"model.mixer_options": {"d_conv": 2}})
    return chain(
        product(cell("attention", 1e-3, {"model.layers": 1}), seeds(1)),
        product(cell("based", 1e-3, {"model.mixer_options": {"kernel": 1}}), seeds(1)),
        product(cell("based", 1e-3, {"model.mixer_options": {"kernel": "implicit"}}), seeds(1)),
        product(two_taps, seeds(3)[1:]),
        product(cell("mamba", 3e-3, {"model.mixer_options": {"d_conv": 0}}), seeds(1)),
        product(cell("based", 1e-3, {"model.mixer_options": {"kernel": 4}}), seeds(3)),
    )


def cell(
    mixer: str, learning_rate: float, changes: dict[str, Any] | None = None, width: int = 64
) -> Changes:
    """A mixer at one width and learning rate, with further changes."""
    rate = axis("training.learning_rate", [learning_rate])
    return product(mixers([mixer]), axis("model.width", [width]), [changes or {}], rate)
