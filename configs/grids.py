"""What a sweep is built from: lists of changes to a config, and ways to combine them.

A list of changes has one dict for each run, field -> value. ``product`` takes every combination,
``zipped`` the first with the first and so on, ``chain`` one list after the other.
"""

import itertools
from collections.abc import Iterable
from typing import Any

from configs.arguments import positions
from mecheval_jax.errors import UserError

Changes = list[dict[str, Any]]


def axis(field: str, values: Iterable[Any]) -> Changes:
    """One run for each value of a field, such as ``training.learning_rate``."""
    return [{field: value} for value in values]


def mixers(names: Iterable[str]) -> Changes:
    """One run for each mixer, with the positions that it has in the study."""
    return [{"model.mixer": name, "model.positions": positions(name)} for name in names]


def seeds(count: int) -> Changes:
    """Seeds 0 to count - 1, of the initialisation and of the documents."""
    return [{"training.seed": seed, "training.data_seed": seed} for seed in range(count)]


def product(*lists: Changes) -> Changes:
    """Every combination, the last list the fastest; where two set a field, the later counts."""
    return [_merged(parts) for parts in itertools.product(*lists)]


def zipped(*lists: Changes) -> Changes:
    """The first of each with the first of the others, and so on.

    Raises:
        UserError: lists of different lengths.
    """
    if len({len(each) for each in lists}) > 1:
        raise UserError(f"lists of {', '.join(str(len(each)) for each in lists)} cannot be zipped")
    return [_merged(parts) for parts in zip(*lists, strict=True)]


def chain(*lists: Changes) -> Changes:
    """One list after the other."""
    return list(itertools.chain(*lists))


def _merged(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {field: value for part in parts for field, value in part.items()}
