"""Names of sites: our paths, and what other tools call them.

A site is addressed by its path, ``block_1/mixer_output`` or ``block_0/mixer/state``. Names of
TransformerLens (``blocks.1.hook_resid_pre``, ``blocks.0.attn.hook_q``, and for any site inside a
mixer ``blocks.0.mixer.hook_NAME``) and of pyvene with a layer (``attention_input[1]``) are
accepted as well; docs/sites.md lists them all.
"""

import functools
import re
from collections.abc import Iterable

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from mecheval_jax.errors import UserError, choose
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.sites import is_site

TRANSFORMER_LENS = {
    "hook_resid_pre": "block_input",
    "hook_resid_post": "block_output",
    "ln1.hook_normalized": "mixer_input",
    "hook_attn_out": "mixer_output",
    "hook_mixer_out": "mixer_output",
    "ln2.hook_normalized": "mlp_input",
    "hook_mlp_out": "mlp_output",
    "attn.hook_q": "mixer/q",
    "attn.hook_k": "mixer/k",
    "attn.hook_v": "mixer/v",
    "attn.hook_attn_scores": "mixer/scores",
    "attn.hook_pattern": "mixer/pattern",
    "attn.hook_z": "mixer/head_output",
    "mixer.hook_in_proj": "mixer/in_projection",
    "mixer.hook_conv_in": "mixer/conv_input",
    "mixer.hook_conv_out": "mixer/conv_output",
    "mixer.hook_ssm_x": "mixer/x",
    "mixer.hook_ssm_B": "mixer/B",
    "mixer.hook_ssm_C": "mixer/C",
    "mixer.hook_ssm_dt": "mixer/dt",
    "mixer.hook_ssm_decay": "mixer/decay",
    "mixer.hook_ssm_write": "mixer/write",
    "mixer.hook_ssm_state": "mixer/state",
    "mixer.hook_ssm_out": "mixer/ssm_output",
    "mixer.hook_out_proj": "mixer/out_projection",
}
"""After ``blocks.i.``; ``mixer.hook_NAME`` reaches every other site inside a mixer."""

OUTSIDE_BLOCKS = {"hook_embed": "embedding", "ln_final.hook_normalized": "final_norm"}

PYVENE = {
    "block_input": "block_input",
    "block_output": "block_output",
    "mlp_input": "mlp_input",
    "mlp_output": "mlp_output",
    "attention_input": "mixer_input",
    "attention_output": "mixer_output",
    "query_output": "mixer/q",
    "key_output": "mixer/k",
    "value_output": "mixer/v",
    "attention_weight": "mixer/pattern",
    "attention_value_output": "mixer/head_output",
}
"""Before ``[i]``."""


@functools.lru_cache(maxsize=64)
def site_paths(config: ModelConfig) -> tuple[str, ...]:
    """All sites of a model, in the order of the computation."""
    params = jax.eval_shape(lambda: initialize(config, jax.random.key(0)))
    tokens = jnp.zeros((1, 1), jnp.int32)
    _, captured = jax.eval_shape(
        lambda params: LanguageModel(config).apply(
            {"params": params}, tokens, capture_intermediates=is_site, mutable=["intermediates"]
        ),
        params,
    )
    found = flatten_dict(captured["intermediates"], sep="/")
    paths = {path.removesuffix("/__call__") for path in found}
    order = ["embedding"]
    for layer in range(config.layers):
        block = f"block_{layer}"
        inner = _in_order(block, config.build_mixer(layer), paths)
        for component in config.components(layer):
            order.extend(inner if component == "mixer_output" else ())
            order.append(f"{block}/{component}")
    order.append("final_norm")
    if set(order) != paths:
        raise RuntimeError(f"sites without a place in the order: {sorted(set(order) ^ paths)}")
    return tuple(order)


def _in_order(block, mixer, paths):
    """The sites inside a mixer: as its class lists them, then those of a mixer that lists none."""
    inside = {path for path in paths if path.startswith(f"{block}/mixer/")}
    listed = [f"{block}/mixer/{name}" for name in getattr(mixer, "SITES", ())]
    listed = [path for path in listed if path in inside]
    return [*listed, *sorted(inside - set(listed))]


def resolve(address: str, config: ModelConfig) -> str:
    """The path of a site by any of its names.

    Raises:
        UserError: no such site; the message names the nearest.
    """
    return choose("site", translate(address), site_paths(config))


def resolve_all(addresses: Iterable[str], config: ModelConfig) -> tuple[str, ...]:
    """`resolve` for each address; see `listed`."""
    return tuple(resolve(address, config) for address in listed(addresses))


def listed(sites: str | Iterable[str]) -> tuple[str, ...]:
    """Sites as a tuple; a name alone is one site, not a list of letters.

    Raises:
        UserError: no site.
    """
    found = (sites,) if isinstance(sites, str) else tuple(sites)
    if not found:
        raise UserError("no sites: name at least one")
    return found


def translate(address: str) -> str:
    """The path that an alias stands for; anything else as it is."""
    if address in OUTSIDE_BLOCKS:
        return OUTSIDE_BLOCKS[address]
    if match := re.fullmatch(r"blocks\.(\d+)\.(.+)", address):
        layer, name = match.groups()
        inside = f"mixer/{name.removeprefix('mixer.hook_')}" if "mixer.hook_" in name else name
        return f"block_{layer}/{TRANSFORMER_LENS.get(name, inside)}"
    if match := re.fullmatch(r"(\w+)\[(\d+)\]", address):
        name, layer = match.groups()
        return f"block_{layer}/{PYVENE.get(name, name)}"
    return address
