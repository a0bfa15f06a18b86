"""Groups of the study's sweeps as pages and messages name them: with what their folder does not.

A group's folder is named after its mixer and width alone (``001_mamba_width_64``), and many groups
of an experiment share these: they differ in their task, depth, options or positions.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mecheval_jax.mixers.architectures import positions_of
from mecheval_jax.study.results import config_values
from mecheval_jax.sweeps.plan import GroupPlan

USUAL = {"task": ("AR", "ATR L=5 S=20"), "layers": (2,)}
"""Tasks and depths of the study's main experiments, named only beside others."""


def named(groups: Sequence[GroupPlan]) -> dict[str, str]:
    """The groups of a sweep with their peculiarities: ``001_mamba_width_64 (3 layers, d_conv=6)``.

    Returns:
        Name of a group -> that name with its peculiarities.
    """
    return {name: _with(name, words) for name, words in peculiarities(groups).items()}


def plain(names: Sequence[str]) -> tuple[str, ...]:
    """Names of groups as their folders have them, of names as `named` gives them.

    Args:
        names: Names, which may have been cut at the commas between peculiarities.
    """
    return tuple(re.sub(r"\s*\([^()]*\)", "", ",".join(names)).split(",")) if names else ()


def listed(groups: Sequence[GroupPlan], among: Sequence[GroupPlan]) -> str:
    """Some groups of a sweep as `named`, with what they all have in common once, before them.

    Args:
        groups: The groups, one or more.
        among: All groups of the sweep.
    """
    words = peculiarities(among)
    of_each = [words[group.name] for group in groups]
    common = [one for one in of_each[0] if all(one in own for own in of_each)]
    names = (_with(group.name, words[group.name], common) for group in groups)
    return ": ".join(filter(None, (", ".join(common), ", ".join(names))))


def peculiarities(groups: Sequence[GroupPlan]) -> dict[str, list[str]]:
    """What the names of a sweep's groups do not say: the task, depth, options and positions.

    The usual positions of a mixer, and `USUAL` tasks and depths where the whole sweep has the same,
    go without saying.

    Returns:
        Name of a group -> words.
    """
    rows = {group.name: config_values(group.experiments[0]) for group in groups}
    told = {name for name in USUAL if len({row[name] for row in rows.values()}) > 1}
    return {name: _words(row, told) for name, row in rows.items()}


def _words(row: Mapping[str, Any], told: set[str]) -> list[str]:
    layers, positions = row["layers"], row["positions"]
    is_told = {name: name in told or row[name] not in usual for name, usual in USUAL.items()}
    words = {
        row["task"]: is_told["task"],
        f"{layers} layer{'s' * (layers != 1)}": is_told["layers"],
        row["option"]: bool(row["option"]),
        f"positions {positions}": positions != positions_of(row["mixer"]),
    }
    return [word for word, said in words.items() if said]


def _with(name: str, words: Sequence[str], without: Sequence[str] = ()) -> str:
    own = ", ".join(word for word in words if word not in without)
    return f"{name} ({own})" if own else name
