"""Architectures by name: the mixers of a model's layers.

An architecture, as a config names it, is a mixer for every layer and the kind of block around
it. ``base_conv`` alternates a short and a long convolution, ``based`` a short gated
convolution and linear attention (settings of arXiv 2505.15105). A name ``module:Class`` is a
Flax module of the user's own. Names joined by commas make a hybrid, one for each layer.
"""

import dataclasses
import importlib
import inspect
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn

from mecheval_jax.errors import UserError, choose
from mecheval_jax.fields import between_commas
from mecheval_jax.mixers.attention import Attention, SlidingWindowAttention
from mecheval_jax.mixers.base_conv import BaseConv
from mecheval_jax.mixers.based import Based
from mecheval_jax.mixers.comba import Comba
from mecheval_jax.mixers.delta_net import DeltaNet, GatedDeltaNet
from mecheval_jax.mixers.delta_product import GatedDeltaProduct
from mecheval_jax.mixers.forgetting_attention import ForgettingAttention, ForgettingAttentionPro
from mecheval_jax.mixers.gated_attention import GatedAttention
from mecheval_jax.mixers.gated_slot_attention import GatedSlotAttention
from mecheval_jax.mixers.gla import GatedLinearAttention
from mecheval_jax.mixers.h3 import H3
from mecheval_jax.mixers.hgrn2 import HGRN2
from mecheval_jax.mixers.hyena import Hyena
from mecheval_jax.mixers.kda import KDA, GatedDeltaNet2
from mecheval_jax.mixers.log_linear_mamba2 import LogLinearMamba2
from mecheval_jax.mixers.lstm import LSTM
from mecheval_jax.mixers.mamba import Mamba
from mecheval_jax.mixers.mamba2 import Mamba2
from mecheval_jax.mixers.mamba3 import Mamba3
from mecheval_jax.mixers.mesa_net import MesaNet
from mecheval_jax.mixers.mlstm import MLSTM
from mecheval_jax.mixers.options import checked, fields_of, is_built_in, require_all
from mecheval_jax.mixers.path_attention import PathAttention
from mecheval_jax.mixers.retnet import RetNet
from mecheval_jax.mixers.rwkv import RWKV4
from mecheval_jax.mixers.rwkv7 import RWKV7
from mecheval_jax.mixers.s4d import S4D
from mecheval_jax.sites import hands_on


@dataclasses.dataclass(frozen=True)
class MixerContext:
    """What the model itself sets, in every mixer that has such a field.

    In a class of the user's own `canon` and `canon_bias` are options, unless a mixer of this
    package that it is derived from has them: fields of such a name may be anything there.

    Attributes:
        layer: Index of the layer, from 0.
        layers: Number of layers of the model.
        width: Number of channels of the residual stream.
        max_length: Length limit of the model, in tokens.
        encoding: Encoding of positions inside the mixer: ``none``, ``rotary`` or ``alibi``.
        canon: Number of taps of the residual convolution of queries, keys and values (Canon-B);
            0 for none.
        canon_bias: Whether that convolution has a bias.
    """

    layer: int
    layers: int
    width: int
    max_length: int
    encoding: str = "none"
    canon: int = 0
    canon_bias: bool = True


CONTEXT = (*(field.name for field in dataclasses.fields(MixerContext)), "shared")
"""Names of the fields that an option cannot set in a mixer of this package: those, and what mixers
share in a model."""

OF_THIS_PACKAGE = ("canon", "canon_bias")
"""Those among them that the model sets only where a class of this package has the field."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The mixers that a name in a config stands for.

    Attributes:
        mixer: Function from the index of a layer, from 0, to its mixer class.
        defaults: Function from that index to the fields of the class that are set.
        mamba_block: Whether a block has RMSNorm before the mixer and no feed-forward part, as
            in Mamba.
    """

    mixer: Callable[[int], type[nn.Module]]
    defaults: Callable[[int], Mapping[str, Any]] = lambda layer: {}
    mamba_block: bool = False


def _even(layer: int) -> bool:
    return layer % 2 == 0


def _of(mixer: type[nn.Module], **options: Any) -> Architecture:
    return Architecture(lambda layer: mixer, **options)


ARCHITECTURES: dict[str, Architecture] = {
    "attention": _of(Attention),
    "sliding_window_attention": _of(SlidingWindowAttention),
    "base_conv": Architecture(
        lambda layer: BaseConv, lambda layer: {"kernel": 3 if _even(layer) else "implicit"}
    ),
    "based": Architecture(lambda layer: BaseConv if _even(layer) else Based),
    "taylor_attention": _of(Based),
    "hyena": _of(Hyena),
    "h3": _of(H3),
    "s4d": _of(S4D),
    "mamba": _of(Mamba, mamba_block=True),
    "mamba2": _of(Mamba2, mamba_block=True),
    "mamba3": _of(Mamba3, mamba_block=True),
    "delta_net": _of(DeltaNet),
    "gated_delta_net": _of(GatedDeltaNet),
    "gated_delta_net_2": _of(GatedDeltaNet2),
    "gated_delta_product": _of(GatedDeltaProduct),
    "kda": _of(KDA),
    "comba": _of(Comba),
    "gla": _of(GatedLinearAttention),
    "retnet": _of(RetNet),
    "rwkv4": _of(RWKV4),
    "rwkv7": _of(RWKV7),
    "lstm": _of(LSTM),
    "forgetting_attention": _of(ForgettingAttention),
    "forgetting_attention_pro": _of(ForgettingAttentionPro),
    "hgrn2": _of(HGRN2),
    "gated_slot_attention": _of(GatedSlotAttention),
    "mesa_net": _of(MesaNet),
    "mlstm": _of(MLSTM, mamba_block=True),
    "log_linear_mamba2": _of(LogLinearMamba2, mamba_block=True),
    "gated_attention": _of(GatedAttention),
    "path_attention": _of(PathAttention),
}


def architectures_of(mixer: str, layers: int) -> tuple[Architecture, ...]:
    """The architecture of each layer.

    Args:
        mixer: Name of an architecture, or one for each layer joined by commas.
        layers: Number of layers of the model.

    Raises:
        UserError: If a name is unknown, or a hybrid has another number of layers.
    """
    names = between_commas(mixer)
    found = [_own(name) if ":" in name else _known(name) for name in names]
    if len(found) not in (1, layers):
        raise UserError(
            f"model.mixer {mixer!r} names {len(found)} mixers for {layers} layers; commas part the "
            "layers of one architecture"
        )
    return tuple(found) if len(found) == layers else tuple(found) * layers


def positions_of(mixer: str) -> str:
    """Positions that a mixer has by itself: learned for attention alone, as in arXiv 2505.15105."""
    return "learned" if mixer == "attention" else "none"


def _known(name: str) -> Architecture:
    return ARCHITECTURES[choose("mixer", name, ARCHITECTURES)]


def _own(path: str) -> Architecture:
    """The architecture of a class given as ``module:Class``."""
    module, _, name = path.partition(":")
    if module.endswith(".py"):
        stem = pathlib.PurePath(module).stem
        raise UserError(
            f"model.mixer {path!r} names a file: give {stem}:{name}, an import path without .py, "
            "with the file's folder on PYTHONPATH"
        )
    try:
        imported = importlib.import_module(module)
        if not hasattr(imported, name):
            modules = {key: value for key, value in vars(imported).items() if _is_module(value)}
            own = [key for key, value in modules.items() if not is_built_in(value)]
            choose(f"class of {module}", name, own)
    # Of the user's own file, which may raise anything, or end the program as a script does.
    except (Exception, SystemExit) as error:
        said = f"{error}" if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            file = f"{module.replace('.', '/')}.py"
            said = f"{error}; it is module:Class, and the folder of {file} must be on PYTHONPATH"
        raise UserError(f"model.mixer {path!r} cannot be imported: {said}") from error
    mixer = getattr(imported, name)
    if not _is_module(mixer):
        raise UserError(f"model.mixer {path!r} is not a Flax module (flax.linen.Module)")
    if "positions" not in inspect.signature(mixer.__call__).parameters:
        raise UserError(
            f"model.mixer {path!r}: its __call__ must take (x, positions=None); "
            "mecheval_jax.ops.positions.at_positions reads an output there"
        )
    if is_built_in(mixer) and not hasattr(mixer, "SITES"):
        raise UserError(
            f"model.mixer {path!r} is no mixer, but a part or the base of some; valid are their "
            "names, and module:Class of a class of one's own"
        )
    return _of(mixer)


def _is_module(value: Any) -> bool:
    """Whether something is a class of Flax modules."""
    return isinstance(value, type) and issubclass(value, nn.Module)


def mixer_of(name: str, config: Mapping[str, Any]) -> nn.Module:
    """A single mixer by name.

    Args:
        name: Name of an architecture.
        config: Values of the fields of its mixer.

    Raises:
        UserError: If a name or a field is unknown, or the mixer cannot have a value.
    """
    # An architecture with two kinds of layers is named after the second.
    mixer = _known(name).mixer(1)
    fields, values = fields_of(mixer), {}
    for field, value in config.items():
        choose(f"field of {name}", field, fields)
        values[field] = value if field == "shared" else checked(field, value, mixer, f"{name}: ")
    require_all(name, mixer, values)
    return mixer(**values)


def _set_by_model(mixer: type[nn.Module]) -> set[str]:
    """Names of the fields of a mixer class that the model sets, and options cannot."""
    found = set(CONTEXT) & set(fields_of(mixer))
    return {name for name in found if name not in OF_THIS_PACKAGE or _is_ours(mixer, name)}


def _is_ours(mixer: type[nn.Module], field: str) -> bool:
    """Whether a field of a class is that of a mixer of this package."""
    owners = (part for part in mixer.__mro__ if field in inspect.get_annotations(part))
    return is_built_in(next(owners, mixer))


def _check_context(
    architecture: str, classes: Sequence[type[nn.Module]], context: MixerContext
) -> None:
    """Check that the mixers of all layers can have what the model sets.

    Raises:
        UserError: If no mixer has its positions or Canon-B, the layer's mixer does not have these
            positions, or it needs another first layer.
    """
    layer, encoding = context.layer, context.encoding
    own = classes[layer]
    if encoding != "none":
        if not any("encoding" in fields_of(mixer) for mixer in classes):
            raise UserError(f"model.positions {encoding!r}: no mixer of {architecture!r} has them")
        encodings = getattr(own, "ENCODINGS", (encoding,))
        if encoding not in encodings:
            names = between_commas(architecture)
            raise UserError(
                f"model.positions {encoding!r}: {names[layer % len(names)]} (layer "
                f"{layer}) does not have them; valid are {', '.join(('learned', *encodings))}"
            )
    if context.canon and not any("canon" in _set_by_model(mixer) for mixer in classes):
        raise UserError(
            f"model.canon_at has B: no mixer of {architecture!r} has queries, keys and values of "
            "one input, which Canon-B convolves; A is in every block, C and D where it has a "
            "feed-forward part"
        )
    if hands_on(own) and not hands_on(classes[0]):
        raise UserError(
            f"model.mixer {architecture!r}: layer {layer} mixes in the values of layer 0, "
            f"of type {classes[0].__name__}: the first layer must be {own.__name__} too"
        )


def build_mixer(
    architecture: str, context: MixerContext, options: Mapping[str, Any] | None = None
) -> nn.Module:
    """The mixer of one layer.

    Args:
        architecture: Name in `ARCHITECTURES`, ``module:Class``, or one for each layer joined
            by commas.
        context: What the model sets, the layer included.
        options: Fields of the mixer that differ from the architecture's defaults; a list has
            one value for each layer. A field that only mixers of other layers have is ignored.

    Raises:
        UserError: If the architecture is unknown, no layer's mixer has an option, or the mixer
            cannot have a value.
    """
    layer, layers = context.layer, context.layers
    chosen = architectures_of(architecture, layers)
    classes = [entry.mixer(i) for i, entry in enumerate(chosen)]
    _check_context(architecture, classes, context)
    set_by_model = [_set_by_model(mixer) for mixer in classes]
    given = {name: getattr(context, name) for name in set_by_model[layer] - {"shared"}}
    if context.encoding == "none":
        given.pop("encoding", None)  # a mixer of one's own may have another default
    # Options of this layer, checked against the fields of all layers' mixers.
    options_of = [
        set(fields_of(mixer)) - names for mixer, names in zip(classes, set_by_model, strict=True)
    ]
    valid, values = set().union(*options_of), {}
    for option, value in (options or {}).items():
        if option not in valid:
            raise UserError(
                f"mixer {architecture!r} has no option {option!r}: "
                f"valid are {', '.join(sorted(valid))}"
            )
        if isinstance(value, (list, tuple)):
            if len(value) != layers:
                raise UserError(
                    f"model.mixer_options.{option} has {len(value)} values for {layers} layers"
                )
            value = value[layer]
        if option in options_of[layer]:
            values[option] = checked(option, value, classes[layer])
    # The model's fields, then the architecture's, then the options.
    wanted = given | dict(chosen[layer].defaults(layer)) | values
    require_all(architecture, classes[layer], wanted)
    try:
        return classes[layer](**wanted)
    except Exception as error:  # a user's own file may raise anything
        if isinstance(error, UserError) or is_built_in(classes[layer]):
            raise
        said = f"{type(error).__name__}: {error}"
        raise UserError(f"model.mixer {architecture!r} cannot be built: {said}") from error
