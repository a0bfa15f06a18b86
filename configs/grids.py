"""Lists of changes to a config, one for each run of a sweep, and their combinations.

``product`` takes every combination of lists, ``zipped`` combines their first entries, their second
entries and so on, and ``chain`` concatenates them.
"""

import itertools
from collections.abc import Iterable
from typing import Any

from mecheval_jax.errors import UserError
from mecheval_jax.mixers.architectures import positions_of

Changes = list[dict[str, Any]]
"""For each run, the fields that it changes and their values."""


def axis(field: str, values: Iterable[Any]) -> Changes:
    """One run for each value of a field, such as ``training.learning_rate``."""
    return [{field: value} for value in values]


def mixers(names: Iterable[str]) -> Changes:
    """One run for each mixer, with its positions (`architectures.positions_of`)."""
    return [{"model.mixer": name, "model.positions": positions_of(name)} for name in names]


def seeds(count: int) -> Changes:
    """One run for each seed from 0 to count - 1, of initialisation and documents."""
    return [{"training.seed": seed, "training.data_seed": seed} for seed in range(count)]


def product(*lists: Changes) -> Changes:
    """Every combination, the last list varying fastest; of several values of a field, the last."""
    return [_merged(parts) for parts in itertools.product(*lists)]


def zipped(*lists: Changes) -> Changes:
    """The combination of the first entries of all lists, of the second entries, and so on.

    Raises:
        UserError: If the lists have different lengths.
    """
    if len({len(each) for each in lists}) > 1:
        raise UserError(f"lists of {', '.join(str(len(each)) for each in lists)} cannot be zipped")
    return [_merged(parts) for parts in zip(*lists, strict=True)]


def chain(*lists: Changes) -> Changes:
    """The concatenation of lists."""
    return list(itertools.chain(*lists))


def _merged(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {field: value for part in parts for field, value in part.items()}
