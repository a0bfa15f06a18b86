"""The sequence mixers, built by name.

A mixer is a Flax module ``x [batch, length, width] -> [batch, length, width]``, causal
(with ``positions [batch, queries]`` it may compute its outputs there alone), with a
recurrent form: ``initial_state(batch, max_length)`` and
``step(state, x_t) -> (state, y_t)``.

An architecture is what a config names: a mixer for every layer, and the block that
goes round it. ``base_conv`` alternates a short and a long convolution, ``based`` a short
gated convolution and linear attention (the study's settings).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

from mecheval_jax.errors import UserError, choose
from mecheval_jax.mixers.attention import Attention
from mecheval_jax.mixers.base_conv import BaseConv
from mecheval_jax.mixers.based import Based
from mecheval_jax.mixers.hyena import Hyena
from mecheval_jax.mixers.mamba import Mamba

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Attention",
    "BaseConv",
    "Based",
    "Hyena",
    "Mamba",
    "build_mixer",
]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What a mixer's name in a config stands for.

    Attributes:
        mixer: the mixer class of a layer (the index counts from 0).
        defaults: fields of that class which the architecture sets for a layer.
        mamba_block: RMSNorm before the mixer and no feed-forward part, as Mamba has it.
    """

    mixer: Callable[[int], type[nn.Module]]
    defaults: Callable[[int], Mapping[str, Any]] = lambda layer: {}
    mamba_block: bool = False


def _even(layer: int) -> bool:
    return layer % 2 == 0


ARCHITECTURES: dict[str, Architecture] = {
    "attention": Architecture(lambda layer: Attention),
    "base_conv": Architecture(
        lambda layer: BaseConv, lambda layer: {"kernel": 3 if _even(layer) else None}
    ),
    "based": Architecture(lambda layer: BaseConv if _even(layer) else Based),
    "hyena": Architecture(lambda layer: Hyena),
    "mamba": Architecture(lambda layer: Mamba, mamba_block=True),
}


def _fields(mixer: type[nn.Module]) -> set[str]:
    return {field.name for field in dataclasses.fields(mixer)} - {"parent", "name"}


def build_mixer(
    architecture: str,
    layer: int,
    *,
    layers: int,
    width: int,
    max_length: int,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """The mixer of one layer.

    Args:
        architecture: a name in `ARCHITECTURES`.
        layer: index of the layer, from 0.
        layers: depth of the model.
        width: channels of the residual stream.
        max_length: length limit of the model, in tokens.
        options: fields of the mixer that differ from the architecture's defaults; one
            that only other layers' mixers have is passed over.

    Raises:
        UserError: an unknown architecture, or an option that no layer's mixer has.
    """
    chosen = ARCHITECTURES[choose("mixer", architecture, ARCHITECTURES)]
    context = {"layers": layers, "width": width, "max_length": max_length}
    valid = set().union(*(_fields(chosen.mixer(i)) for i in range(layers))) - set(context)
    for option in options or {}:
        if option not in valid:
            raise UserError(
                f"mixer {architecture!r} has no option {option!r}: "
                f"valid are {', '.join(sorted(valid))}"
            )
    mixer = chosen.mixer(layer)
    wanted = context | dict(chosen.defaults(layer)) | dict(options or {})
    return mixer(**{name: value for name, value in wanted.items() if name in _fields(mixer)})
