"""State dicts of other implementations: flat mappings from their names to arrays.

A table says where an entry goes and how it is laid out there. The arithmetic needs no more
than a transposition or a split (PyTorch's dense weights are [out, in], ours [in, out]).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from mecheval_jax.array_types import PyTree
from mecheval_jax.errors import UserError


class Target(NamedTuple):
    """Where an entry goes: a path below the module, and the layout there."""

    path: str
    layout: str = "as_is"


LAYOUTS = {
    "as_is": (lambda array: array, lambda array: array),
    # Dense: [out, in] and [in, out].
    "transpose": (lambda array: array.T, lambda array: array.T),
    # Depthwise: [width, 1, kernel] and [kernel, width].
    "taps": (lambda array: array[:, 0].T, lambda array: array.T[:, None]),
    # Leading axes of size 1.
    "first": (lambda array: array[0], lambda array: array[None]),
    "first_two": (lambda array: array[0, 0], lambda array: array[None, None]),
}
"""Their layout to ours, and back."""

Table = dict[str, Target]


def dense(*pairs: str, layout: str = "transpose") -> Table:
    """Entries of dense layers, given as "theirs=ours" or one name for both."""
    entries = {}
    for pair in pairs:
        theirs, _, ours = pair.partition("=")
        entries[f"{theirs}.weight"] = Target(f"{ours or theirs}/kernel", layout)
        entries[f"{theirs}.bias"] = Target(f"{ours or theirs}/bias")
    return entries


def short_convolution(theirs: str, ours: str) -> Table:
    """Entries of a depthwise convolution."""
    return {
        f"{theirs}.weight": Target(f"{ours}/weight", "taps"),
        f"{theirs}.bias": Target(f"{ours}/bias"),
    }


def norm(theirs: str, ours: str) -> Table:
    """Entries of a LayerNorm or RMSNorm."""
    return {f"{theirs}.weight": Target(f"{ours}/scale"), f"{theirs}.bias": Target(f"{ours}/bias")}


def below(table: Table, theirs: str, ours: str) -> Table:
    """A table under longer names."""
    return {theirs + n: Target(ours + target.path, target.layout) for n, target in table.items()}


def fill(
    shapes: PyTree, table: Table, entries: Mapping[str, np.ndarray], problems: Iterable[str] = ()
) -> PyTree:
    """The parameter tree `shapes` filled from `entries`.

    Raises:
        UserError: `problems` found before, and missing, extra or misshaped entries, all of
            them named.
    """
    problems, wanted = list(problems), flatten_dict(shapes, sep="/")
    names = {target.path: name for name, target in table.items() if target.path in wanted}
    filled = {}
    for path, shape in wanted.items():
        name = names.get(path)
        if name not in entries:
            problems.append(f"{name or path} is missing")
            continue
        array = np.asarray(entries[name])
        into_ours, into_theirs = LAYOUTS[table[name].layout]
        # Compared as they are there: an axis of size 1 that is dropped must have been of size 1.
        expected = into_theirs(np.empty(shape.shape)).shape
        if array.shape != expected:
            problems.append(f"{name} is {array.shape}, the model needs {expected}")
        elif not jnp.issubdtype(array.dtype, jnp.floating):
            problems.append(f"{name} holds {array.dtype}, not floating-point numbers")
        else:
            filled[path] = jnp.asarray(into_ours(array))
    extra = sorted(set(entries) - set(names.values()))
    problems.extend(f"{name} has no place in this model" for name in extra)
    if problems:
        raise UserError("state dict does not fit:\n  " + "\n  ".join(problems))
    return unflatten_dict(filled, sep="/")


def empty(params: PyTree, table: Table) -> dict[str, np.ndarray]:
    """The inverse of `fill`: the entries that hold `params`.

    Raises:
        UserError: parameters that the table has no names for.
    """
    ours = flatten_dict(params, sep="/")
    entries = {
        name: np.ascontiguousarray(LAYOUTS[target.layout][1](np.asarray(ours[target.path])))
        for name, target in table.items()
        if target.path in ours
    }
    nameless = sorted(set(ours) - {target.path for target in table.values()})
    if nameless:
        raise UserError(f"no names there for the parameters {', '.join(nameless)}")
    return entries


def split(
    entries: dict[str, np.ndarray], fused: str, parts: Iterable[tuple[str, int]]
) -> list[str]:
    """Cut an entry along its first axis, in place; returns problems.

    Args:
        entries: the state dict, changed.
        fused: name of the entry; nothing happens if it is not there.
        parts: name and rows of each part, in order.
    """
    whole = entries.pop(fused, None)
    if whole is None:
        return []
    parts = list(parts)
    ends = np.cumsum([rows for _, rows in parts])
    rows = len(whole) if np.ndim(whole) else 0
    if rows != ends[-1]:
        return [f"{fused} has {rows} rows, the model {ends[-1]}"]
    cut = np.split(np.asarray(whole), ends[:-1])
    entries.update({name: part for (name, _), part in zip(parts, cut, strict=True)})
    return []


def join(entries: dict[str, np.ndarray], fused: str, parts: Iterable[str]) -> None:
    """The inverse of `split`; nothing happens if the parts are not there."""
    parts = list(parts)
    if parts[0] in entries:
        entries[fused] = np.concatenate([entries.pop(name) for name in parts])
