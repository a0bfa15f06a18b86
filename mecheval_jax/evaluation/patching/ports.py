"""Ports: the sites inside a mixer at which an edge enters it.

What a mixer reads is taken apart at its queries, keys, values, step sizes, gates and so on. Which
of these it has is not declared but found (`dependence`). Going through `NAMES` in order, a
site is a port if it still depends on what the mixer reads when the ports before it are held (pinned
to given values), and the mixer's output depends on it. So a state space model has ``dt`` and not
the ``decay`` that follows from it, and a gated delta net has ``decay``. If the output depends on
what the mixer reads even when all ports are held, the remainder is the port `REST`.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.patching.dependence import dependence
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.interventions.capture import Activations, observe_block
from mecheval_jax.interventions.patch import pin
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, parameter_shapes
from mecheval_jax.site_path import SitePath, in_mixer

NAMES = (
    *("x", "B", "C", "q", "k", "v", "r", "w", "kappa", "alpha", "beta", "dt", "trapezoid", "turn"),
    *("input_gate", "forget_gate", "erase_gate", "write_gate", "forget", "decay", "gates"),
    *("filter_input", "weights", "gate"),
)
"""Sites that are looked at, in this order: what is written and read, how, and what gates it."""

AUTO, NONE, REST = "auto", "none", "rest"
"""All ports of a mixer; none, so that an edge enters it as a whole; what is left over."""

CONVOLUTIONS = ("conv_output", "shift_output", "filter_output")
"""Sites inside a mixer that hold a convolution's output; the first that it has is a node."""

STREAM = "residual stream"

TOKENS = 4
"""Length of the document with which a block is traced."""


@dataclasses.dataclass(frozen=True)
class Port:
    """A port of a mixer.

    Attributes:
        name: Site inside the mixer, or `REST`.
        reads_stream: Whether it depends on the residual stream.
        reads_convolution: Whether it depends on the output of the mixer's convolution.
    """

    name: str
    reads_stream: bool
    reads_convolution: bool


def convolution_of(config: ModelConfig, layer: int) -> str | None:
    """Path of the output of a mixer's convolution; None without one."""
    candidates = (in_mixer(layer, name) for name in CONVOLUTIONS)
    return next((path for path in candidates if path in site_paths(config)), None)


def chosen_ports(config: ModelConfig, ports: Iterable[str]) -> tuple[tuple[Port, ...], ...]:
    """The ports of every layer that are asked for; a layer without enters as a whole.

    Args:
        config: Shape of the model.
        ports: ``("auto",)``, ``("none",)``, or names of ports, each of at least one layer's mixer.

    Raises:
        UserError: If no mixer of the model can be entered at one of them.
    """
    asked, layers = tuple(ports), range(config.layers)
    if asked == (NONE,):
        return ((),) * config.layers
    if asked == (AUTO,):
        return tuple(ports_of(config, layer) for layer in layers)
    for name in (AUTO, NONE):
        if name in asked:
            others = ", ".join(each for each in asked if each != name)
            raise UserError(f"ports are {name!r} and {others}: {name!r} stands alone")
    found = tuple(ports_of(config, layer, asked) for layer in layers)
    for name in asked:
        if not any(name == port.name for each in found for port in each):
            own = (", ".join(port.name for port in ports_of(config, layer)) for layer in layers)
            valid = "; ".join(
                f"{names or 'none'} in layer {layer}" for layer, names in enumerate(own)
            )
            raise UserError(
                f"port {name!r}: no mixer of {config.mixer!r} is entered there; valid are {AUTO}, "
                f"{NONE}, and {valid}"
            )
    return found


@functools.lru_cache(maxsize=256)
def ports_of(config: ModelConfig, layer: int, names: tuple[str, ...] = NAMES) -> tuple[Port, ...]:
    """The ports of one layer's mixer among `names`, and `REST` if something is left over."""
    output, convolution = SitePath(layer, "mixer_output").path, convolution_of(config, layer)
    origins = {STREAM, convolution}
    held = (convolution,) if convolution else ()
    now = sources = _sources(config, layer, held)
    ports = []
    for name in names:
        site = in_mixer(layer, name)
        # What ports before it have determined is no port of its own, nor is what nothing reads.
        if site in held or not now.get(site, frozenset()) & origins:
            continue
        then = _sources(config, layer, (*held, site))
        if site in then[output]:
            ports.append(_port(name, sources[site], convolution))
            held, now = (*held, site), then
    if ports and now[output] & origins:
        ports.append(_port(REST, now[output], convolution))
    return tuple(ports)


def _port(name: str, sources: frozenset[str], convolution: str | None) -> Port:
    return Port(name, STREAM in sources, convolution in sources)


@functools.lru_cache(maxsize=256)
def _sources(config: ModelConfig, layer: int, held: tuple[str, ...]) -> dict[str, frozenset[str]]:
    """For each site of a block, what it can depend on: `STREAM`, ``params`` and held sites.

    A held site is pinned to a given value, which is an input then. What is computed from that site
    depends on this input, and no longer on what determines the site in the model.
    """
    sites, given = _block(config, layer)
    shapes = _shapes(config, layer) if held else {}
    return dependence(sites, given | {path: shapes[path] for path in held})


@functools.lru_cache(maxsize=64)
def _shapes(config: ModelConfig, layer: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of the activations of a block."""
    sites, given = _block(config, layer)
    return jax.eval_shape(sites, given)


def _block(
    config: ModelConfig, layer: int
) -> tuple[Callable[[dict[str, PyTree]], Activations], dict[str, PyTree]]:
    """A block as a function of parameters, its input and held sites; shapes of the first two."""
    model = LanguageModel(config)

    def sites(inputs: dict[str, PyTree]) -> Activations:
        held = {path: value for path, value in inputs.items() if path not in given}
        return observe_block(model, inputs["params"], layer, inputs[STREAM], pin(held, held))

    stream = jax.ShapeDtypeStruct((1, min(TOKENS, config.max_length), config.width), jnp.float32)
    given = {"params": parameter_shapes(config), STREAM: stream}
    return sites, given
