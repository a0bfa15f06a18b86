"""The sites of a model, and how they are found by any of their names (`site_path`)."""

import functools
from collections.abc import Iterable

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.errors import UserError, choose, expect, several
from mecheval_jax.mixers.options import is_built_in
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.site_path import MIXER, OUTSIDE_BLOCKS, SitePath, in_mixer
from mecheval_jax.sites import ONLY_WITH, apply_captured


def site_paths(config: ModelConfig) -> tuple[str, ...]:
    """Paths of all sites of a model, in the order of the computation.

    Raises:
        UserError: If this is no config of a model.
    """
    expect("the config", config, ModelConfig, "a ModelConfig, as Run.model.config is")
    return _site_paths(config)


@functools.lru_cache(maxsize=64)
def _site_paths(config: ModelConfig) -> tuple[str, ...]:
    called: list[str] = []

    def activations() -> dict[str, jax.Array]:
        params, tokens = initialize(config, jax.random.key(0)), jnp.zeros((1, 1), jnp.int32)
        found = apply_captured(LanguageModel(config), {"params": params}, tokens)[1]
        called.extend(found)  # here they are in the order of their calls: jax sorts what it gives
        return found

    jax.eval_shape(activations)
    order = ["embedding"]
    for layer in range(config.layers):
        inner = _in_order(layer, config.build_mixer(layer), called)
        for component in config.components(layer):
            order.extend(inner if component == "mixer_output" else ())
            order.append(SitePath(layer, component).path)
    order.append("final_norm")
    if unplaced := set(order) ^ set(called):
        raise RuntimeError(f"sites without a place in the order: {sorted(unplaced)}")
    return tuple(order)


def _in_order(layer: int, mixer: nn.Module, called: list[str]) -> list[str]:
    """Sites inside a mixer: in the order of its ``SITES``, then any others in that of their calls.

    A mixer of the user's own may have no ``SITES``.
    """
    sites = ((path, SitePath.parse(path)) for path in called)
    inside = [path for path, site in sites if site.layer == layer and site.in_mixer]
    known = [in_mixer(layer, name) for name in getattr(mixer, "SITES", ())]
    return list(dict.fromkeys([path for path in known if path in inside] + inside))


def path_of(address: str) -> str:
    """Path that any name of a site stands for; that a model has the site is not checked.

    Raises:
        UserError: If this is no name.
    """
    expect("the site", address, str, "one path or name")
    return SitePath.parse(address).path


def resolve(address: str, config: ModelConfig) -> str:
    """Path of a site, from any of its names.

    Raises:
        UserError: If the model has no such site; the message suggests the nearest name.
    """
    return choose("site", path_of(address), site_paths(config))


def resolve_all(addresses: str | Iterable[str], config: ModelConfig) -> tuple[str, ...]:
    """Paths of one site or of several; see `resolve` and `listed`."""
    return tuple(resolve(address, config) for address in listed(addresses))


def check_site(path: str, config: ModelConfig) -> None:
    """Check that a model has a site: most are known without the trace that tells all of them.

    Flax would pass over an entry that no module has.

    Raises:
        UserError: If it has not.
    """
    site = SitePath.parse(path)
    if site.layer is None:
        known = OUTSIDE_BLOCKS.values()
    elif site.layer >= config.layers:
        known = ()
    elif site.in_mixer:
        known = [f"{MIXER}{name}" for name in _always_there(config.build_mixer(site.layer))]
    else:
        known = config.components(site.layer)
    if site.component not in known:
        resolve(path, config)


def _always_there(mixer: nn.Module) -> list[str]:
    """Names of a mixer's sites that it has whatever its options are.

    Which sites a mixer of the user's own has is known from a trace alone.
    """
    named = type(mixer).SITES if is_built_in(type(mixer)) else {}
    return [name for name, meaning in named.items() if ONLY_WITH not in meaning]


def listed(sites: str | Iterable[str]) -> tuple[str, ...]:
    """Sites as a tuple, from one name or several.

    Raises:
        UserError: If there are no sites.
    """
    found = several(sites)
    if not found:
        raise UserError("no sites: name at least one")
    return found
