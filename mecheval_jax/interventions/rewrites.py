"""Interventions as data: pure functions from activations to what sites shall return.

An intervention on a site is an entry of `sites`: ``{"value": v}`` replaces the activation
whole, ``{"value": v, "mask": m}`` where the mask holds, ``{"shift": s}`` is added to it. All
sites act on live activations: a later site overrides what flows into it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp

from mecheval_jax.array_types import Array, Bool, Int
from mecheval_jax.errors import UserError, choose
from mecheval_jax.interventions.addresses import translate
from mecheval_jax.interventions.capture import Activations, flatten, unflatten
from mecheval_jax.sites import Entry, steps

Interventions = dict[str, Any]
"""Nested as the activations are, with an entry (`sites.Entry`) at each site."""


def positions_mask(
    positions: Int[Array, " batch"] | Int[Array, "batch chosen"], length: int, dimensions: int
) -> Bool[Array, "batch length ..."]:
    """True at the chosen positions of each document; a negative position chooses nothing.

    Args:
        positions: one position a document, or several.
        length: tokens of the documents.
        dimensions: of the activation; trailing axes of size 1 are added.
    """
    chosen = positions.reshape(positions.shape[0], -1)
    mask = (jnp.arange(length)[None, :, None] == chosen[:, None, :]).any(axis=-1)
    return mask.reshape(*mask.shape, *(1,) * (dimensions - 2))


def _at(tree: Activations, sites: Iterable[str]) -> dict[str, Array]:
    flat = flatten(tree)
    paths = [choose("site", translate(site), flat) for site in sites]
    return {path: flat[path] for path in paths}


def interchange(
    source: Activations,
    sites: Iterable[str],
    positions: Int[Array, " batch"] | Int[Array, "batch chosen"] | None = None,
) -> Interventions:
    """Put in the activations that `source` has at `sites`.

    Args:
        source: activations of another run on documents of the same shape.
        sites: paths as in `source`, or aliases.
        positions: where; everywhere if None. A negative position leaves a document alone.

    Raises:
        UserError: a site that `source` does not have.
    """
    return _replace(_at(source, sites), positions)


def zero(
    like: Activations,
    sites: Iterable[str],
    positions: Int[Array, " batch"] | Int[Array, "batch chosen"] | None = None,
) -> Interventions:
    """Put in zeros at `sites`, shaped as in `like`; see `interchange`."""
    values = {path: jnp.zeros_like(value) for path, value in _at(like, sites).items()}
    return _replace(values, positions)


def pin(activations: Activations, sites: Iterable[str]) -> Interventions:
    """Hold `sites` at their values in `activations`, whole.

    What feeds only pinned sites is not computed.
    """
    return _replace(_at(activations, sites), None)


def _replace(values: dict[str, Array], positions) -> Interventions:
    flat = {}
    for path, value in values.items():
        flat[f"{path}/value"] = value
        if positions is not None:
            flat[f"{path}/mask"] = positions_mask(positions, value.shape[1], value.ndim)
    return unflatten(flat)


def combine(first: Interventions, *others: Interventions) -> Interventions:
    """All of several interventions, one after another.

    Where two claim a position of one site, the later one acts on what the earlier one made
    of it: a value takes its place, a shift is added to it.

    Raises:
        UserError: entries on one site whose activations have different shapes.
    """
    entries = entries_by_site(first)
    for other in others:
        for path, entry in entries_by_site(other).items():
            entries[path] = _over(entries[path], entry) if path in entries else entry
    return unflatten(entries)


def entries_by_site(interventions: Interventions) -> dict[str, Entry]:
    """Interventions by site: path -> entry."""
    found: dict[str, Entry] = {}
    for name, child in interventions.items():
        if not isinstance(child, Mapping):
            raise UserError(f"{name!r} is no site: an intervention is nested as the activations")
        if all(isinstance(leaf, Mapping) for leaf in child.values()):
            inside = entries_by_site(child)
            found |= {f"{name}/{path}": entry for path, entry in inside.items()}
        else:
            found[name] = child
    return found


def _over(below: Entry, above: Entry) -> Entry:
    """One entry that acts as `below` and then `above`."""
    if _takes_all(above):
        return above
    shapes = [_shape(next(steps(entry))) for entry in (below, above)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"interventions on one site have values of shapes {shapes[0]} and {shapes[1]}"
        )
    if "then" in below:
        return {**below, "then": _over(below["then"], above)}
    if "then" in above or any("projection" in entry for entry in (below, above)):
        return {**below, "then": above}
    merged, shift = dict(above), below.get("shift")
    if "value" in below:
        merged["value"] = below["value"]
        if "value" in above:
            merged["value"] = jnp.where(above["mask"], above["value"], below["value"])
        merged.pop("mask", None)
        if "mask" in below:
            merged["mask"] = below["mask"] | above["mask"] if "mask" in above else below["mask"]
    if shift is not None:
        kept = jnp.where(above["mask"], 0, shift) if "value" in above else shift
        merged["shift"] = kept + above["shift"] if "shift" in above else kept
    return merged


def _takes_all(entry: Entry) -> bool:
    """Whether nothing of the live activation is left."""
    return "value" in entry and "mask" not in entry and "projection" not in entry


def _shape(step: Entry) -> tuple[int, ...]:
    return (step["value"] if "value" in step else step["shift"]).shape
