"""States of equal size in different mixers, set by the option that scales each.

The size is the number of bytes that a layer keeps at any length of the document, without the last
few tokens of short convolutions or shifts, which most mixers have and which hold no associations.
"""

import bisect
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax

from mecheval_jax.errors import UserError, choose
from mecheval_jax.models.language_model import LanguageModel, ModelConfig

HEADS = "heads"

SCALES = {
    "mamba": "d_state",
    "mamba2": "d_state",
    "gla": "key_share",
    "retnet": "key_share",
    "delta_net": "key_share",
    "gated_delta_net": "key_share",
    "gated_delta_net_2": "key_share",
    "gated_delta_product": "key_share",
    "comba": "key_share",
    "kda": "key_share",
    "gated_slot_attention": "slots",
    "taylor_attention": "feature_width",
    "rwkv7": HEADS,
    "mlstm": HEADS,
}
"""Option that scales the state of each mixer: a share of the width, or a number."""

MOST_HEADS = 16
"""Greatest number of heads that is tried in narrower models: an mLSTM is wider inside."""

LARGEST = 1024
"""Greatest value of an option that is tried."""

LOCAL = ("conv", "position", "previous")
"""Parts of the names of states that do not count."""


def equal_state(mixer: str, width: int, size: int) -> dict[str, Any]:
    """Options with which each layer of a mixer keeps a state of a given size.

    Args:
        mixer: Name of an architecture, of `SCALES`.
        width: Number of channels of the model.
        size: Bytes of the state of one layer.

    Raises:
        UserError: If the mixer's state has no such option, a number is below 1, or the state cannot
            have this size; the message gives the nearest sizes.
    """
    option = SCALES[choose("mixer whose state can be scaled", mixer, SCALES)]
    for name, number in (("width", width), ("size of the state", size)):
        if number < 1:
            raise UserError(f"{name} {number}: at least 1")

    def bytes_of(value: float) -> int:
        return layer_bytes(ModelConfig(mixer, 1, width, 8, 8, mixer_options={option: value}))

    def cannot_be(value: float) -> bool:
        try:
            return bytes_of(value) == 0
        except UserError:
            return True

    values = _values(option, width)
    # Numbers of heads have to divide something; of the others only the smallest may be too small.
    left_out = itertools.filterfalse if option == HEADS else itertools.dropwhile
    values = list(left_out(cannot_be, values)) or list(values)[-1:]  # that one says why
    found = bisect.bisect_left(values, size, key=bytes_of)
    if found < len(values) and bytes_of(values[found]) == size:
        return {option: values[found]}
    near = [values[i] for i in (found - 1, found) if 0 <= i < len(values)]
    told = " and ".join(f"{bytes_of(value):,} ({option}={value:g})" for value in near)
    raise UserError(
        f"a state of {size:,} bytes: {mixer} of width {width} has none; the nearest: {told}"
    )


def _values(option: str, width: int) -> Sequence[int] | Sequence[float]:
    """Values of an option that may be possible, those of the smallest states first."""
    if option == "key_share":
        return [number / width for number in range(1, 4 * width + 1)]
    if option == HEADS:
        return range(max(width, MOST_HEADS), 0, -1)
    return range(1, LARGEST + 1)


@functools.cache
def layer_bytes(config: ModelConfig) -> int:
    """Bytes of the state of the first layer that count."""
    model = LanguageModel(config)

    # Tracing more than the state would ask which devices there are, and a config file that uses
    # this is read before they are set up.
    state, _ = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), 1, 1, method="initial_state")
    )
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize
        for path, leaf in leaves
        if not any(name in jax.tree_util.keystr(path) for name in LOCAL)
    )
