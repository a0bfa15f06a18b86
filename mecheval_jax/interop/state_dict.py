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

from mecheval_jax.array_types import ARRAYS, PyTree
from mecheval_jax.errors import UserError, expect, one_line


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
    "taps": (lambda array: array[:, 0].T, lambda array: np.atleast_1d(array).T[:, None]),
    # Leading axes of size 1.
    "first": (lambda array: array[0], lambda array: array[None]),
    "first_two": (lambda array: array[0, 0], lambda array: array[None, None]),
    # Rates of heads: [1, 1, heads, 1].
    "third": (
        lambda array: array[0, 0, :, 0],
        lambda array: np.atleast_1d(array)[None, None, :, None],
    ),
    # Scales of norms that are stored less the 1 with which they start.
    "less_one": (lambda array: array + 1, lambda array: array - 1),
}
"""Functions from their layout to ours, and back."""

Table = dict[str, Target]

QKV = ("q_proj", "k_proj", "v_proj")
"""Our names of the dense layers that give queries, keys and values, which many others share."""


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


def parameters(*pairs: str, layout: str = "as_is") -> Table:
    """Table of parameters that belong to no layer.

    Args:
        *pairs: Names as "theirs=ours", or one name for both.
        layout: Layout of the parameters.
    """
    names = (pair.partition("=") for pair in pairs)
    return {theirs: Target(ours or theirs, layout) for theirs, _, ours in names}


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


def arrays_of(entries: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The entries of a state dict as NumPy's arrays; UserError if one is none, or has no name."""
    expect("the state dict", entries, Mapping, "arrays by name")
    arrays = {}
    for name, entry in entries.items():
        expect("a name in the state dict", name, str, "text")
        try:
            arrays[name] = np.asarray(entry)
        except (ValueError, TypeError, RuntimeError) as error:  # the last are raised by torch
            raise UserError(f"{name} is no array: {one_line(error, 200)}") from None
    return arrays


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
    entries = arrays_of(entries)
    names = {target.path: name for name, target in table.items() if target.path in wanted}
    filled = {}
    for path, shape in wanted.items():
        name = names.get(path)
        if name not in entries:
            problems.append(f"{name or path} is missing")
            continue
        array = entries[name]
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


def pop_tied_head(entries: dict[str, np.ndarray], head: str, embedding: str) -> list[str]:
    """Remove an output head that is the embedding again; the problem, if it is another."""
    again, original = entries.pop(head, None), entries.get(embedding)
    if again is None or original is None or np.array_equal(again, original):
        return []
    return [f"{head} differs from the embedding, to which it is tied"]


def at_least_float32(array: np.ndarray) -> np.ndarray:
    """The same numbers, of half precision in float32: parameters are never narrower."""
    narrow = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize < 4
    return array.astype(np.float32) if narrow else array


def empty(params: PyTree, table: Table) -> dict[str, np.ndarray]:
    """Entries of a state dict from parameters: the inverse of `fill`.

    Raises:
        UserError: If the parameters are no tree of arrays of floating-point numbers, or the table
            has no name for some.
    """
    expect("params", params, Mapping, "the parameters of a model or mixer, a tree of arrays")
    ours = {"/".join(map(str, path)): leaf for path, leaf in flatten_dict(params).items()}
    for path, leaf in ours.items():
        expect(path, leaf, ARRAYS, "an array")
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise UserError(f"{path} holds {leaf.dtype}, not floating-point numbers")
    entries = {
        name: np.ascontiguousarray(LAYOUTS[target.layout][1](np.asarray(ours[target.path])))
        for name, target in table.items()
        if target.path in ours
    }
    nameless = sorted(set(ours) - {target.path for target in table.values()})
    if nameless:
        raise UserError(f"no names there for the parameters {', '.join(nameless)}")
    return entries


class FusedEntry(NamedTuple):
    """An entry whose rows are those of several others.

    Attributes:
        name: Name of the entry.
        parts: Names and numbers of rows of the others, in order.
        groups: Number of times that the parts repeat along the rows, each with an equal share of
            its own.
        transposed: Whether the rows are along the last axis, not the first.
    """

    name: str
    parts: Mapping[str, int]
    groups: int = 1
    transposed: bool = False

    def take_apart(self, entries: dict[str, np.ndarray]) -> None:
        """Replace the entry by its parts, in place; do nothing if it is missing.

        If the rows are not as many as those of the parts, the parts have wrong shapes, which
        `fill` reports.
        """
        whole = entries.pop(self.name, None)
        if whole is None:
            return
        rows = np.atleast_1d(whole.T if self.transposed else whole)
        sizes = list(self.parts.values())
        if rows.size and len(rows) == sum(sizes):
            by_group = rows.reshape(self.groups, -1, *rows.shape[1:])
            parts = np.split(by_group, np.cumsum(sizes)[:-1] // self.groups, axis=1)
            parts = [part.reshape(-1, *rows.shape[1:]) for part in parts]
        else:
            parts = np.array_split(rows, len(sizes))
        entries |= zip(self.parts, parts, strict=True)

    def put_together(self, entries: dict[str, np.ndarray]) -> None:
        """Invert `take_apart` in place; do nothing if the parts are missing."""
        if next(iter(self.parts)) in entries:
            parts = [entries.pop(name) for name in self.parts]
            by_group = [part.reshape(self.groups, -1, *part.shape[1:]) for part in parts]
            rows = np.concatenate(by_group, axis=1).reshape(-1, *parts[0].shape[1:])
            entries[self.name] = rows.T if self.transposed else rows
