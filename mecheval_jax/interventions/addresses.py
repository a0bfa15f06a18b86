"""The sites of a model, and how they are found by any of their names (`site_path`)."""

import functools
from collections.abc import Iterable

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.errors import choose, expect
from mecheval_jax.interventions.capture import listed, observe
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.site_path import SitePath, in_mixer


def site_paths(config: ModelConfig) -> tuple[str, ...]:
    """Paths of all sites of a model, in the order of the computation.

    Raises:
        UserError: If this is no config of a model.
    """
    expect("the config", config, ModelConfig, "a ModelConfig, as Run.model.config is")
    return _site_paths(config)


@functools.lru_cache(maxsize=64)
def _site_paths(config: ModelConfig) -> tuple[str, ...]:
    params = jax.eval_shape(lambda: initialize(config, jax.random.key(0)))
    tokens = jnp.zeros((1, 1), jnp.int32)
    _, activations = jax.eval_shape(
        lambda params: observe(LanguageModel(config), params, tokens), params
    )
    paths = set(activations)
    order = ["embedding"]
    for layer in range(config.layers):
        inner = _in_order(layer, config.build_mixer(layer), paths)
        for component in config.components(layer):
            order.extend(inner if component == "mixer_output" else ())
            order.append(SitePath(layer, component).path)
    order.append("final_norm")
    if set(order) != paths:
        raise RuntimeError(f"sites without a place in the order: {sorted(set(order) ^ paths)}")
    return tuple(order)


def _in_order(layer: int, mixer: nn.Module, paths: set[str]) -> list[str]:
    """Sites inside a mixer: in the order of its ``SITES``, then any others by name."""
    sites = ((path, SitePath.parse(path)) for path in paths)
    inside = {path for path, site in sites if site.layer == layer and site.in_mixer}
    known = [in_mixer(layer, name) for name in getattr(mixer, "SITES", ())]
    known = [path for path in known if path in inside]
    return [*known, *sorted(inside - set(known))]


def resolve(address: str, config: ModelConfig) -> str:
    """Path of a site, from any of its names.

    Raises:
        UserError: If the model has no such site; the message suggests the nearest name.
    """
    return choose("site", SitePath.parse(address).path, site_paths(config))


def resolve_all(addresses: str | Iterable[str], config: ModelConfig) -> tuple[str, ...]:
    """Paths of one site or of several; see `resolve` and `listed`."""
    return tuple(resolve(address, config) for address in listed(addresses))
