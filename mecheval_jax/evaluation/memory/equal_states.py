"""States of equal size in different mixers, set by the option that scales each.

The size is the number of bytes that a layer keeps at any length of the document, without the last
few tokens of short convolutions or shifts, which most mixers have and which hold no associations.
"""

import bisect
import functools
import math
from typing import Any

import jax

from mecheval_jax.errors import UserError, choose
from mecheval_jax.models.language_model import LanguageModel, ModelConfig

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
}
"""Option that scales the state of each mixer: a share of the width, or a number."""

LARGEST = 1024
"""Greatest value of an option, or number of channels of the keys, that is tried."""

LOCAL = ("conv", "position", "previous")
"""Parts of the names of states that do not count."""


def equal_state(mixer: str, width: int, size: int) -> dict[str, Any]:
    """Options with which each layer of a mixer keeps a state of a given size.

    Args:
        mixer: Name of an architecture, of `SCALES`.
        width: Number of channels of the model.
        size: Bytes of the state of one layer.

    Raises:
        UserError: If the mixer's state has no such option, or cannot have this size; the message
            gives the nearest sizes.
    """
    option = SCALES[choose("mixer whose state can be scaled", mixer, SCALES)]

    def value(number: int) -> float | int:
        return number / width if option == "key_share" else number

    def bytes_of(number: int) -> int:
        return layer_bytes(
            ModelConfig(mixer, 1, width, 8, 8, mixer_options={option: value(number)})
        )

    most = width * 4 if option == "key_share" else LARGEST
    found = bisect.bisect_left(range(1, most + 1), size, key=bytes_of) + 1
    if found <= most and bytes_of(found) == size:
        return {option: value(found)}
    near = [number for number in (found - 1, found) if 1 <= number <= most]
    told = " and ".join(f"{bytes_of(n):,} ({option}={value(n):g})" for n in near)
    raise UserError(f"a state of {size:,} bytes: {mixer} of width {width} has not, but {told}")


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
