"""Checks of interventions before they are run.

Flax ignores an entry at a misspelt path, and broadcasting accepts many wrong shapes, both without
a message: an experiment would then report that the site has no effect.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Int
from mecheval_jax.errors import UserError, choose
from mecheval_jax.interventions.capture import Activations, by_path
from mecheval_jax.sites import LEAVES, Entry, rewrite, steps


def validate(interventions: Mapping[str, Any], base: Activations, must_change: bool = True) -> None:
    """Check interventions against the activations of the run that they go into.

    Args:
        interventions: Interventions that will be applied.
        base: Activations of that run at (at least) the same sites.
        must_change: Whether an intervention must change the activation of its site.

    Raises:
        UserError: If a site does not exist, a shape or type is wrong, a mask selects nothing,
            or an intervention would change nothing.
    """
    if not interventions:
        raise UserError("no interventions: nothing would be changed")
    for address, entry in interventions.items():
        if not isinstance(entry, Mapping):
            raise UserError(f"{address}: an intervention is an entry by path, not an array alone")
    for path, entry in by_path(interventions).items():
        choose("site", path, base)
        for step in steps(entry):
            _check(path, step, base[path])
        if must_change and np.array_equal(rewrite(jnp.asarray(base[path]), entry), base[path]):
            raise UserError(
                f"{path}: the value is the live one at every selected position, so nothing "
                "would change (must_change=False allows that)"
            )


def _check(path: str, step: Entry, live: Array) -> None:
    """Check names, shapes and types of one step of an entry against the live activation."""
    if set(step) - set(LEAVES) or not {"value", "shift"} & set(step):
        raise UserError(
            f"{path}: an intervention has a value or a shift, and may have a mask and a "
            f"projection for its value, not {', '.join(step)}"
        )
    for name in ("value", "shift"):
        if name in step and (step[name].shape, step[name].dtype) != (live.shape, live.dtype):
            raise UserError(
                f"{path}: the {name} is {step[name].dtype}{list(step[name].shape)}, "
                f"the activation {live.dtype}{list(live.shape)}"
            )
    for name in {"mask", "projection"} & set(step):
        if "value" not in step:
            raise UserError(f"{path}: a {name} without a value does nothing")
    if "mask" in step and not _broadcast(path, step["mask"], live.shape).any():
        raise UserError(f"{path}: the mask selects no position in any document")
    if "projection" in step and step["projection"].shape != (live.shape[-1],) * 2:
        raise UserError(
            f"{path}: the projection is {list(step['projection'].shape)}, the activation has "
            f"{live.shape[-1]} channels"
        )


def _broadcast(path: str, mask: Array, shape: tuple[int, ...]) -> np.ndarray:
    """A mask at the shape of its activation, after a check that it fits."""
    selected = np.asarray(mask)
    fits = selected.ndim == len(shape) and selected.shape[:2] == shape[:2]
    if selected.dtype != bool or not fits:
        raise UserError(
            f"{path}: the mask is {selected.dtype}{list(selected.shape)}, it must be bool and fit "
            f"{list(shape)} with the same documents and positions"
        )
    return np.broadcast_to(selected, shape)


def validate_positions(
    positions: Int[Array, " batch"] | Int[Array, "batch chosen"], lengths: Int[Array, " batch"]
) -> None:
    """Check that positions lie in their documents; negative ones mean none.

    Raises:
        UserError: If a position lies outside; the message names the first.
    """
    chosen = np.asarray(positions).reshape(len(lengths), -1)
    outside = np.argwhere(chosen >= np.asarray(lengths)[:, None])
    if len(outside):
        document, column = outside[0]
        raise UserError(
            f"position {chosen[document, column]} lies outside document {document}, "
            f"which has {int(lengths[document])} tokens"
        )
