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
from mecheval_jax.interventions.positions import check_positions
from mecheval_jax.sites import check_entry, rewrite, steps


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
    for path, entry in by_path(interventions).items():
        choose("site", path, base)
        check_entry(path, entry, base[path])
        for step in steps(entry):
            if "mask" in step and not np.asarray(step["mask"]).any():
                raise UserError(f"{path}: the mask selects no position in any document")
        if must_change and np.array_equal(rewrite(jnp.asarray(base[path]), entry), base[path]):
            raise UserError(
                f"{path}: the intervention leaves every selected position as it is, so nothing "
                "would change (must_change=False allows that)"
            )


def validate_positions(
    positions: Int[Array, " batch"] | Int[Array, "batch chosen"], lengths: Int[Array, " batch"]
) -> None:
    """Check that positions lie in their documents; negative ones mean none.

    Raises:
        UserError: If a position lies outside; the message names the first. If they are a mask,
            or of another number of documents.
    """
    check_positions(positions)
    if positions.dtype == bool:
        raise UserError("positions are a mask: give indices, or check it by locate(batch, mask)")
    if len(positions) != len(lengths):
        raise UserError(f"{len(positions)} positions for {len(lengths)} documents")
    chosen = np.asarray(positions).reshape(len(lengths), -1)  # devices would cut large numbers
    outside = np.argwhere(chosen >= np.asarray(lengths)[:, None])
    if len(outside):
        document, column = outside[0]
        raise UserError(
            f"position {chosen[document, column]} lies outside document {document}, "
            f"which has {int(lengths[document])} tokens"
        )
