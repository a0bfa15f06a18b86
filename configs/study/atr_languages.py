"""ATR in the harder languages: L = 10, 8,192 terminals, and both at once.

Expected (the study, width 64): L = 10, Mamba 86 %, attention 76 %; 8,192 terminals, attention 89 %,
Mamba 87 %. Both at once were announced, and never shown.

Question: do longer expansions and a large vocabulary change who recalls, and how?

    python -m launch.sweep --config=configs/study/atr_languages.py --workdir=DIR
    python -m launch.study --only=atr_languages --scale=laptop --workdir=DIR
"""

from typing import Any

from ml_collections import ConfigDict

from configs import treecall
from configs.grids import Changes, product, seeds
from configs.study import atr_two_layers
from configs.study.ar_second_rates import cell
from configs.study.cells import cells


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `atr_two_layers`."""
    return atr_two_layers.get_config(arg)


def language(name: str) -> dict[str, Any]:
    """The changes that make the easy language another of `atr_two_layers`."""
    terminals, symbols = atr_two_layers.LANGUAGES[name]
    task = treecall.task(terminals, symbols)
    return {f"task.{field}": task[field] for field in ("terminals", "symbols", "terminal_weight")}


def mamba_and_attention(name: str, width: int, count: int) -> Changes:
    """Both in a language, each with so many seeds at one learning rate."""
    return [
        member
        for mixer in ("mamba", "attention")
        for member in product(cell(mixer, 1e-3, language(name), width=width), seeds(count))
    ]


def runs(scale: str) -> Changes:
    """Every mixer in every language but the easy one."""
    languages = [language(name) for name in atr_two_layers.LANGUAGES if name != "easy"]
    return cells("atr_languages", scale, atr_two_layers.MIXERS, languages)


def sweep() -> Changes:
    """The three languages on the study's grid."""
    return runs("full")
