"""The places of a verdict: cuts through the residual stream, and local operations of layers.

The input of each layer from 1 on is a cut: everything that later layers know of the document passes
through it (in RWKV-7 together with the values that its first layer hands on to all others). Inside
a layer, the sites that mix neighbouring tokens (`sites.reach_of`) hold a pair before the layer's
own state or attention reads it; they are exchanged together. How far behind its later token the
pair can lie follows from the layers, whose reaches add up.
"""

import dataclasses
import functools

from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.interventions.capture import handed_on
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.site_path import SitePath, in_mixer, together
from mecheval_jax.sites import ALL, reach_of
from mecheval_jax.tasks.base import PAIR, Batch, Task
from mecheval_jax.tasks.geometry import Geometry, geometry

STREAM, LOCAL, READING = "stream", "local", "reading"
"""Kinds of places: a cut, local operations of a layer, and a layer's reading at the question."""

LEAST = 1
"""Least reach at a cut: without local operations before it, attention binds a pair at its later
token or one token behind."""

SINGLES = 4
"""Greatest number of positions of a pair that are exchanged one by one."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Sites that are exchanged together.

    Attributes:
        kind: `STREAM`, `LOCAL` or `READING`.
        layer: Index of the layer.
        sites: Paths, in the order of the computation.
        reach: Number of tokens behind the pair's later token up to which the pair can lie.
    """

    kind: str
    layer: int
    sites: tuple[str, ...]
    reach: float

    @property
    def site(self) -> str:
        """The path, or a name for several sites: ``block_0/mixer/k+v``."""
        return together(self.sites)

    @property
    def singles(self) -> range:
        """Offsets from the later token at which single positions are exchanged."""
        return range(int(min(self.reach + 1, SINGLES)))


def _local(config: ModelConfig, layer: int) -> dict[str, float] | None:
    """Reach of each local operation of a layer, by its site; None if the mixer does not declare it.

    Local operations come before the layer's state or attention. If the block has a Canon layer at
    its input, the reaches of the mixer's operations include that layer's.
    """
    mixed, block = reach_of(config.build_mixer(layer)), config.block(layer)
    if mixed is None:
        return None
    canon = block.canon - 1 if block.has_canon("A") else 0
    found = {SitePath(layer, "canon_output").path: canon} if canon > 0 else {}
    return found | {in_mixer(layer, name): canon + reach for name, reach in mixed.items()}


def _reach(config: ModelConfig, layer: int, length: int) -> float:
    """Number of tokens by which a layer's local operations can move a pair further behind.

    It is infinite if they see half of a usual document or more, or if the mixer does not declare
    it.
    """
    local, block = _local(config, layer), config.block(layer)
    if local is None:
        return ALL
    behind = sum(block.canon - 1 for place in "CD" if block.has_canon(place))
    behind += block.feed_forward.shifts  # by one token
    reach = max(local.values(), default=0) + behind
    return reach if reach < length / 2 else ALL


def nearest(config: ModelConfig, length: int) -> float:
    """Greatest reach of the model's layers, except for reaches over the whole document."""
    found = (_reach(config, layer, length) for layer in range(config.layers))
    inside = [reach for reach in found if reach < ALL]
    # A short convolution may lie beside a filter over the whole document.
    chosen = filter(None, (_chosen(config, layer, length) for layer in range(config.layers)))
    return max([*inside, *(reach for reach, _ in chosen if reach < ALL)], default=0)


def judged(config: ModelConfig, task: Task, batch: Batch) -> Geometry:
    """Where pairs stand, in documents that are judged: convolutions reach none of the question."""
    return geometry(task, batch).apart(nearest(config, task.usual_length))


def _chosen(config: ModelConfig, layer: int, length: int) -> tuple[float, tuple[str, ...]] | None:
    """Greatest reach of a layer's local operations, and their sites, exchanged together, if any.

    A filter over the whole document that follows a short convolution is left out: it reads what the
    convolution has mixed, and changes with it.
    """
    local = _local(config, layer)
    if not local:
        return None
    short = {path: reach for path, reach in local.items() if reach < length / 2}
    chosen = short or local
    reach = max(chosen.values()) if short else ALL
    return reach, tuple(path for path in site_paths(config) if path in chosen)


def cut_before(config: ModelConfig, layer: int) -> tuple[str, ...]:
    """Paths of all that the layers from one on know of the document."""
    later = (handed_on(config, each) for each in range(layer, config.layers))
    # Values that pass the cut beside the stream are exchanged in the first layer that mixes them
    # in, which hands them on to the layers behind it.
    return (SitePath(layer, "block_input").path, *next(filter(None, later), ()))


@functools.lru_cache(maxsize=64)
def places_of(config: ModelConfig, length: int) -> tuple[Place, ...]:
    """The places of a verdict, layer by layer.

    Args:
        config: Config of the model.
        length: Number of tokens of a usual document (`Task.usual_length`).
    """
    found, behind = [], 0
    for layer in range(config.layers):
        reach = max(behind, LEAST)
        if layer:
            found.append(Place(STREAM, layer, cut_before(config, layer), reach))
        if (chosen := _chosen(config, layer, length)) is not None:
            own, sites = chosen
            found.append(Place(LOCAL, layer, sites, behind + own))
        found.append(Place(READING, layer, (SitePath(layer, "mixer_output").path,), reach))
        behind += _reach(config, layer, length)
    return tuple(found)


def silent_layers(config: ModelConfig) -> tuple[int, ...]:
    """Layers whose mixers do not declare what they mix locally."""
    return tuple(layer for layer in range(config.layers) if _local(config, layer) is None)


def name_of_single(offset: int, found: Geometry) -> str:
    """Name of a position by its offset from the pair's later token: ``value``, ``next_key``.

    It begins with ``pair`` if the value is the later token in some documents only. The later token
    itself is ``pair+0`` then, since ``pair`` is the set of all positions of the pair.
    """
    last = found.value_last[found.applies]
    if bool(last.all()):
        return ("value", "next_key")[offset] if offset < 2 else f"value+{offset}"
    if bool(last.any()):
        return f"pair+{offset}"
    return f"key+{offset}" if offset else "key"


def in_either_order(role: str) -> str:
    """The name that `name_of_single` gives to a position where the order of pairs varies.

    Names of sets of positions stay as they are.
    """
    token, plus, offset = role.partition("+")
    if role == "next_key":
        return "pair+1"
    return f"pair+{offset if plus else 0}" if token in PAIR else role
