"""Interventions as data: pure functions from activations to what sites shall return.

An intervention on a site is ``{"value": v}``, which replaces the activation whole, or
``{"value": v, "mask": m}``, which replaces it where the mask holds. All sites act on
live activations: a later site overrides what flows into it.
"""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp

from mecheval_jax.array_types import Array, Bool, Int
from mecheval_jax.errors import UserError, choose
from mecheval_jax.interventions.addresses import translate
from mecheval_jax.interventions.capture import Activations, flatten, unflatten

Interventions = dict[str, Any]
"""Nested as the activations are; leaves ``value`` and ``mask``."""


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
    """All of several interventions at once; where two claim a position, the later one has it."""
    entries = entries_by_site(first)
    for other in others:
        for path, entry in entries_by_site(other).items():
            entries[path] = _over(entries[path], entry) if path in entries else entry
    return unflatten({f"{p}/{name}": leaf for p, e in entries.items() for name, leaf in e.items()})


def entries_by_site(interventions: Interventions) -> dict[str, dict[str, Array]]:
    """Interventions by site: path -> {"value": ..., "mask": ...}."""
    entries: dict[str, dict[str, Array]] = {}
    for path, leaf in flatten(interventions).items():
        site, _, name = path.rpartition("/")
        entries.setdefault(site, {})[name] = leaf
    return entries


def _over(below: dict[str, Array], above: dict[str, Array]) -> dict[str, Array]:
    if "mask" not in above:
        return above
    if below["value"].shape != above["value"].shape:
        raise UserError(
            f"interventions on one site have values of shapes {below['value'].shape} "
            f"and {above['value'].shape}"
        )
    value = jnp.where(above["mask"], above["value"], below["value"])
    if "mask" not in below:
        return {"value": value}
    return {"value": value, "mask": below["mask"] | above["mask"]}
