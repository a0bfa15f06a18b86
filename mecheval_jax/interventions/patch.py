"""Interventions as data: pure functions that make them from activations, and combine them.

Interventions map paths of sites to entries (`sites.Entry`): ``{"value": v}`` replaces the whole
activation, ``{"value": v, "mask": m}`` replaces it where the mask holds, and ``{"shift": s}`` is
added to it. Entries act on the live activation, which contains the effects of all earlier sites.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import ARRAYS, Array, Int
from mecheval_jax.errors import UserError, expect, several
from mecheval_jax.interventions.addresses import listed
from mecheval_jax.interventions.capture import Activations, Interventions, at_sites, by_path
from mecheval_jax.interventions.positions import Positions, columns, gather, positions_mask, scatter
from mecheval_jax.sites import Entry, is_state, mask_of, steps
from mecheval_jax.tasks.base import ABSENT


def interchange(
    source: Activations,
    sites: str | Iterable[str],
    positions: Positions = None,
    base: Activations | None = None,
) -> Interventions:
    """Replace activations by those of another run (interchange intervention, Geiger et al. 2021).

    Args:
        source: Activations of another run on documents of the same shape.
        sites: Paths as in `source`, or aliases.
        positions: Positions that are replaced (see `positions`); all if None.
        base: Activations of the run that is patched, given only if nothing before the sites
            changes. They are then put in at all other positions, so that the sites are
            replaced whole and what feeds only them is not computed. Recurrent states are
            exempt: later states must follow from the replaced one.

    Raises:
        UserError: If `source` or `base` lacks a site, or they are of documents of other shapes.
    """
    paths = listed(sites)
    held = None if base is None else at_sites(base, paths)
    return replace(at_sites(source, paths), positions, held)


def pin(activations: Activations, sites: str | Iterable[str]) -> Interventions:
    """Hold whole sites at their values in `activations`; no sites give no interventions.

    What feeds only pinned sites is not computed.
    """
    held = sites if isinstance(sites, str) else tuple(sites)
    return replace(at_sites(activations, held), None) if held else {}


def swap(
    source: Activations,
    sites: str | Iterable[str],
    donors: Int[Array, " donors"],
    positions: Positions = None,
) -> Interventions:
    """Replace activations by those of other documents, place by place.

    Args:
        source: Activations of a run on the documents.
        sites: Paths as in `source`, or aliases.
        donors: Index of the document that each document takes its activations from; not
            checked if it is traced.
        positions: Places that are replaced (see `positions`); all positions if None. A document
            is left alone at places that it or its donor lacks.

    Raises:
        UserError: If `source` lacks a site, or `donors` does not hold one document for each.
    """
    found: Interventions = {}
    for path, activation in at_sites(source, sites).items():
        _check_donors(donors, len(activation))
        values, present = gather(activation, positions)
        both, here = present & present[donors], positions
        if positions is not None:
            here = both if positions.dtype == bool else jnp.where(both, columns(positions), ABSENT)
        value = scatter(values[donors], here, activation.shape[1])
        found |= replace({path: value}, here)
    return found


def _check_donors(donors: Int[Array, " donors"], documents: int) -> None:
    takes = "an array with the index of a document for each"
    expect("one of the donors", donors, ARRAYS, takes)
    if donors.shape != (documents,) or not jnp.issubdtype(donors.dtype, jnp.integer):
        raise UserError(
            f"donors are {donors.dtype}{list(donors.shape)}: the index of one for each of "
            f"{documents} documents"
        )
    if isinstance(donors, jax.core.Tracer):
        return
    numbers = np.asarray(donors)
    wrong = np.flatnonzero((numbers < 0) | (numbers >= documents))
    if len(wrong):
        raise UserError(
            f"the donor of document {wrong[0]} is {numbers[wrong[0]]}: valid are 0 to "
            f"{documents - 1}"
        )


def on_channels(interventions: Interventions, channels: Sequence[int]) -> Interventions:
    """Interventions restricted to some channels, entries of the last axis.

    Raises:
        UserError: If there are no channels, a site lacks one, or a projection, which mixes
            channels, comes after another intervention there.
    """
    chosen = several(channels)
    if not chosen:
        raise UserError("no channels: name at least one")
    return {path: _narrowed(path, entry, chosen) for path, entry in by_path(interventions).items()}


def _narrowed(path: str, entry: Entry, channels: Sequence[int]) -> Entry:
    narrowed: dict[str, Any] = dict(entry)
    shape = _shape(entry)
    for channel in channels:
        if channel not in range(shape[-1]):
            raise UserError(f"{path} has no channel {channel}: valid are 0 to {shape[-1] - 1}")
    here = jnp.isin(jnp.arange(shape[-1]), jnp.asarray(channels))
    here = here.reshape(*(1,) * (len(shape) - 1), -1)
    if "value" in entry:
        mask = mask_of(entry) & here
        narrowed["mask"] = jnp.broadcast_to(mask, (*shape[:2], *mask.shape[2:]))
    if "shift" in entry:
        narrowed["shift"] = jnp.where(here, entry["shift"], 0)
    if "then" in entry:
        if "projection" in entry["then"]:
            raise UserError(
                f"{path}: the projection mixes the channels of what comes before it; restrict each "
                "to channels before you compose them"
            )
        narrowed["then"] = _narrowed(path, entry["then"], channels)
    return narrowed


def replace(
    values: Activations, positions: Positions, base: Activations | None = None
) -> Interventions:
    """Replace activations by `values`, by path; other arguments as in `interchange`."""
    if positions is None:
        return {path: {"value": value} for path, value in values.items()}
    found: Interventions = {}
    for path, value in values.items():
        # Broadcasting would take the activations of one document for those of all.
        if base is not None and base[path].shape != value.shape:
            raise UserError(
                f"{path}: the base run has {list(base[path].shape)}, the source {list(value.shape)}"
            )
        mask = positions_mask(positions, value.shape)
        if base is None or is_state(path):
            found[path] = {"value": value, "mask": mask}
        else:
            found[path] = {"value": jnp.where(mask, value, base[path])}
    return found


def shift(changes: Activations) -> Interventions:
    """Add `changes` by path to the live activations."""
    return {path: {"shift": change} for path, change in changes.items()}


def compose(first: Interventions, *others: Interventions) -> Interventions:
    """Several interventions in one, applied one after another.

    Where two of them act on one position of one site, the later one acts on the result of the
    earlier one: a value replaces it, a shift is added to it.

    Raises:
        UserError: If entries on one site have values of different shapes.
    """
    entries = by_path(first)
    for other in others:
        for path, entry in by_path(other).items():
            entries[path] = _over(entries[path], entry) if path in entries else entry
    return entries


def merge_disjoint(first: Interventions, *others: Interventions) -> Interventions:
    """Several interventions in one, whose order must not matter.

    Shifts add up in any order. Any other two interventions on the same position of one site need
    an order, for which there is `compose`. Not traceable.

    Raises:
        UserError: If two of them need an order, or have values of different shapes.
    """
    combined = by_path(first)
    for other in map(by_path, others):
        for path in combined.keys() & other.keys():
            if all(set(entry) == {"shift"} for entry in (combined[path], other[path])):
                continue
            _check_same_shape(combined[path], other[path])
            shared = np.argwhere(_claimed(combined[path]) & _claimed(other[path]))
            if len(shared):
                document, position = shared[0]
                raise UserError(
                    f"two interventions claim {path} at {len(shared)} positions, the first of them "
                    f"{position} in document {document}: compose(first, second) gives an order"
                )
        combined = compose(combined, other)
    return combined


def _claimed(entry: Entry) -> np.ndarray:
    """Mask [batch, length] of the positions at which an entry acts."""
    shape, claimed = _shape(entry), np.zeros(_shape(entry), bool)
    for step in steps(entry):
        if "value" in step:
            claimed |= np.broadcast_to(np.asarray(mask_of(step)), shape)
        if "shift" in step:
            claimed |= np.asarray(step["shift"]) != 0
    return claimed.any(axis=tuple(range(2, len(shape))))


def _over(below: Entry, above: Entry) -> Entry:
    """One entry that acts as `below` and then `above`."""
    _check_same_shape(below, above)
    if _takes_all(above):
        return above
    if "then" in below:
        return {**below, "then": _over(below["then"], above)}
    if "then" in above or any("projection" in entry for entry in (below, above)):
        return {**below, "then": above}
    merged, shift = dict(above), below.get("shift")
    # The value of the later entry over that of the earlier one.
    if "value" in below:
        merged["value"] = below["value"]
        if "value" in above:
            merged["value"] = jnp.where(above["mask"], above["value"], below["value"])
        merged.pop("mask", None)
        if "mask" in below:
            merged["mask"] = below["mask"] | above["mask"] if "mask" in above else below["mask"]
    # The earlier shift counts where the later entry puts in no value.
    if shift is not None:
        kept = jnp.where(above["mask"], 0, shift) if "value" in above else shift
        merged["shift"] = kept + above["shift"] if "shift" in above else kept
    return merged


def _check_same_shape(below: Entry, above: Entry) -> None:
    shapes = [_shape(entry) for entry in (below, above)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"interventions on one site have values of shapes {shapes[0]} and {shapes[1]}"
        )


def _takes_all(entry: Entry) -> bool:
    """Whether nothing of the live activation is left."""
    return "value" in entry and "mask" not in entry and "projection" not in entry


def _shape(entry: Entry) -> tuple[int, ...]:
    """Shape of the activation that an entry acts on."""
    return (entry["value"] if "value" in entry else entry["shift"]).shape
