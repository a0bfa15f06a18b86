"""State dicts of other implementations, and tables that map them to our parameters.

A state dict maps names to arrays. A table gives the path of each entry among our parameters, and
the layout of the entry. Layouts differ by no more than transpositions and splits (PyTorch's dense
weights are [out, in], ours [in, out]).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from mecheval_jax.array_types import PyTree
from mecheval_jax.errors import UserError


class Target(NamedTuple):
    """Target of an entry.

    Attributes:
        path: Path of our parameter below the module.
        layout: Layout of the entry, a key of `LAYOUTS`.
    """

    path: str
    layout: str = "as_is"


LAYOUTS = {
    "as_is": (lambda array: array, lambda array: array),
    # Dense weights: [out, in] and [in, out].
    "transpose": (lambda array: array.T, lambda array: array.T),
    # Depthwise convolutions: [width, 1, kernel] and [kernel, width].
    "taps": (lambda array: array[:, 0].T, lambda array: array.T[:, None]),
    # Leading axes of size 1.
    "first": (lambda array: array[0], lambda array: array[None]),
    "first_two": (lambda array: array[0, 0], lambda array: array[None, None]),
    # Rates of heads: [1, 1, heads, 1].
    "third": (lambda array: array[0, 0, :, 0], lambda array: array[None, None, :, None]),
    # Scales of norms that are stored less the 1 with which they start.
    "less_one": (lambda array: array + 1, lambda array: array - 1),
}
"""Functions from their layout to ours, and back."""

Table = dict[str, Target]


def dense(*pairs: str, layout: str = "transpose") -> Table:
    """Table of dense layers.

    Args:
        *pairs: Names as "theirs=ours", or one name for both.
        layout: Layout of their weights.
    """
    entries = {}
    for pair in pairs:
        theirs, _, ours = pair.partition("=")
        entries[f"{theirs}.weight"] = Target(f"{ours or theirs}/kernel", layout)
        entries[f"{theirs}.bias"] = Target(f"{ours or theirs}/bias")
    return entries


def short_convolution(theirs: str, ours: str) -> Table:
    """Table of a depthwise convolution."""
    return {
        f"{theirs}.weight": Target(f"{ours}/weight", "taps"),
        f"{theirs}.bias": Target(f"{ours}/bias"),
    }


def norm(theirs: str, ours: str) -> Table:
    """Table of a LayerNorm or RMSNorm."""
    return {f"{theirs}.weight": Target(f"{ours}/scale"), f"{theirs}.bias": Target(f"{ours}/bias")}


def below(table: Table, theirs: str, ours: str) -> Table:
    """A table with prefixes before their names and ours."""
    return {theirs + n: Target(ours + target.path, target.layout) for n, target in table.items()}


def fill(
    shapes: PyTree, table: Table, entries: Mapping[str, np.ndarray], problems: Iterable[str] = ()
) -> PyTree:
    """Parameters from the entries of a state dict.

    Args:
        shapes: Tree of the shapes of the parameters.
        table: Targets of the entries.
        entries: State dict.
        problems: Problems that were found before.

    Raises:
        UserError: If there are problems, or entries are missing, extra or misshaped; the message
            names all.
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
        # Shapes are compared in their layout, to check the axes of size 1 that ours drops.
        expected = into_theirs(np.broadcast_to(np.float32(0), shape.shape)).shape
        if array.shape != expected:
            problems.append(f"{name} is {array.shape}, the model needs {expected}")
        elif not jnp.issubdtype(array.dtype, jnp.floating):
            problems.append(f"{name} holds {array.dtype}, not floating-point numbers")
        else:
            filled[path] = jnp.asarray(into_ours(at_least_float32(array)))
    extra = sorted(set(entries) - set(names.values()))
    problems.extend(f"{name} has no place in this model" for name in extra)
    if problems:
        raise UserError("state dict does not fit:\n  " + "\n  ".join(problems))
    return unflatten_dict(filled, sep="/")


def at_least_float32(array: np.ndarray) -> np.ndarray:
    """The same numbers, of half precision in float32: parameters are never narrower."""
    narrow = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize < 4
    return array.astype(np.float32) if narrow else array


def empty(params: PyTree, table: Table) -> dict[str, np.ndarray]:
    """Entries of a state dict from parameters: the inverse of `fill`.

    Raises:
        UserError: If the table has no name for some parameters.
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
    """Cut an entry of a state dict along its first axis, in place.

    Args:
        entries: State dict.
        fused: Name of the entry; if it is missing, nothing is done.
        parts: Name and number of rows of each part, in order.

    Returns:
        Problems, none if the rows fit.
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
    """Concatenate entries, in place: the inverse of `split`; does nothing if they are missing."""
    parts = list(parts)
    if parts[0] in entries:
        entries[fused] = np.concatenate([entries.pop(name) for name in parts])


def split_heads(
    entries: dict[str, np.ndarray], fused: str, parts: Iterable[str], heads: int
) -> None:
    """Cut a dense layer whose outputs are, in each head, those of all parts; in place."""
    parts = list(parts)
    for kind in ("weight", "bias"):
        whole = entries.pop(f"{fused}.{kind}", None)
        if whole is None:
            continue
        rows = np.atleast_1d(whole)
        if not rows.size or len(rows) % (heads * len(parts)):  # is refused by its shape
            entries[f"{fused}.{kind}"] = whole
            continue
        by_head = rows.reshape(heads, len(parts), -1, *rows.shape[1:])
        for i, part in enumerate(parts):
            entries[f"{part}.{kind}"] = by_head[:, i].reshape(-1, *rows.shape[1:])


def join_heads(
    entries: dict[str, np.ndarray], fused: str, parts: Iterable[str], heads: int
) -> None:
    """Invert `split_heads` in place."""
    names = list(parts)
    for kind in ("weight", "bias"):
        if f"{names[0]}.{kind}" not in entries:
            continue
        by_head = [entries.pop(f"{name}.{kind}") for name in names]
        inputs = by_head[0].shape[1:]
        joint = np.stack([part.reshape(heads, -1, *inputs) for part in by_head], axis=1)
        entries[f"{fused}.{kind}"] = joint.reshape(-1, *inputs)
