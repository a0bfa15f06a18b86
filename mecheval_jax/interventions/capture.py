"""Running a model while its sites are read or rewritten.

Activations and interventions are flat mappings here and everywhere else: path of a site -> array
or entry. Flax needs interventions nested by module; this file alone converts them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from flax.traverse_util import unflatten_dict

from mecheval_jax.array_types import Array, Float, Int, PyTree
from mecheval_jax.errors import UserError, choose, expect
from mecheval_jax.interventions.addresses import check_site, listed, path_of
from mecheval_jax.models.arguments import check_positions, own_parameters, tokens_of
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.site_path import in_mixer
from mecheval_jax.sites import INTERVENTIONS, Entry, apply_captured, check_names, hands_on
from mecheval_jax.tasks.base import Batch

Activations = dict[str, Array]
"""Path of a site -> activation, [batch, length, ...]."""

Interventions = dict[str, Entry]
"""Path of a site -> intervention on its activation (`sites.Entry`)."""


def run(
    model: LanguageModel,
    params: PyTree,
    batch: Batch | Int[Array, "batch length"],
    interventions: Interventions | None = None,
    positions: Int[Array, "batch queries"] | None = None,
    *,
    skip_unread: bool = False,
) -> Float[Array, "batch positions vocabulary"]:
    """Logits of a run under interventions.

    Pure and traceable. Names, shapes and types of interventions are checked; that they change
    something is not, which `validate` does.

    Args:
        model: Model that is run.
        params: Parameters of the model.
        batch: Documents, whose queries are read; or tokens.
        interventions: Interventions on the sites of the model; see `patch`.
        positions: Positions of the logits; the queries of a batch, or all positions of tokens,
            if None.
        skip_unread: Whether the last layer computes its outputs only at `positions`, as in
            `LanguageModel`.

    Raises:
        UserError: If tokens, parameters or interventions are none of this model.
    """
    tokens = tokens_of(model, batch)
    if isinstance(batch, Batch) and positions is None:
        positions = batch.query_positions
    check_positions(positions, tokens.shape[1])
    with own_parameters(model, params):
        variables = _variables(model, params, interventions)
        return model.apply(variables, tokens, positions, skip_unread=skip_unread)


def observe(
    model: LanguageModel,
    params: PyTree,
    tokens: Int[Array, "batch length"],
    interventions: Interventions | None = None,
    positions: Int[Array, "batch queries"] | None = None,
    *,
    skip_unread: bool = False,
) -> tuple[Float[Array, "batch positions vocabulary"], Activations]:
    """Logits and the activations at all sites of one run; arguments as in `run`.

    With `skip_unread`, sites of the last layer that follow its look-up (``mixer_output`` and, in
    the mixer, such as ``head_output``) hold `positions` only; those before it hold the document.
    """
    check_positions(positions, tokens.shape[1])
    return _observe(model, params, interventions, tokens, positions, skip_unread=skip_unread)


def handed_on(config: ModelConfig, layer: int) -> tuple[str, ...]:
    """Paths in a block at which it is given, past its input, what the first layer has handed on.

    Those of RWKV-7, of which later layers mix in values of the first; none of other blocks.
    """
    mixes = layer > 0 and hands_on(type(config.build_mixer(layer)))
    return (in_mixer(layer, "v_first"),) if mixes else ()


def observe_block(
    model: LanguageModel,
    params: PyTree,
    layer: int,
    residual: Float[Array, "batch length width"],
    interventions: Interventions | None = None,
    positions: Int[Array, "batch queries"] | None = None,
) -> Activations:
    """Activations at the sites of one block that is applied to a given residual stream.

    Args:
        model: Model that has the block.
        params: Parameters of the whole model.
        layer: Index of the block.
        residual: Input of the block.
        interventions: Interventions, as in `run`.
        positions: Positions at which the mixer's output and everything after it are computed;
            all if None.

    Raises:
        UserError: If the block mixes in values of the first layer, as in RWKV-7, and they are not
            given as an intervention on its site ``v_first``.
    """
    for handed in handed_on(model.config, layer):
        if handed not in (interventions or {}):
            raise UserError(f"block {layer} mixes in values of layer 0: give them at {handed}")

    def block(model: LanguageModel, residual: Array, positions: Array | None) -> Array:
        return model.block[layer](residual, positions)[0]

    return _observe(model, params, interventions, residual, positions, method=block)[1]


def _observe(
    model: LanguageModel,
    params: PyTree,
    interventions: Interventions | None,
    *arguments: Array | None,
    **options: Any,
) -> tuple[Array, Activations]:
    with own_parameters(model, params):
        variables = _variables(model, params, interventions)
        return apply_captured(model, variables, *arguments, **options)


def _variables(
    model: LanguageModel, params: PyTree, interventions: Interventions | None
) -> dict[str, PyTree]:
    """What a model is applied to, after a check that it has the sites of the interventions."""
    entries = by_path(interventions or {})
    for path in entries:
        check_site(path, model.config)
    return {"params": params, INTERVENTIONS: nested(entries)}


def nested(interventions: Mapping[str, Entry]) -> dict[str, Any]:
    """Interventions nested by module, as Flax hands them to the sites of a model."""
    return unflatten_dict(by_path(interventions), sep="/")


def by_path(interventions: Mapping[str, Any]) -> Interventions:
    """Interventions by path, from paths or names of other tools.

    Raises:
        UserError: If two names mean one site, or this is no mapping of entries.
    """
    several_in_one = "a mapping from paths to entries; compose(first, second) makes one of several"
    expect("interventions", interventions, Mapping, several_in_one)
    for address, entry in interventions.items():
        check_names(address, entry)
    entries = {path_of(address): entry for address, entry in interventions.items()}
    if len(entries) < len(interventions):
        raise UserError(f"{', '.join(interventions)}: two of these are one site")
    return entries


def capture(
    model: LanguageModel,
    params: PyTree,
    batch: Batch | Int[Array, "batch length"],
    sites: str | Iterable[str] | None = None,
    interventions: Interventions | None = None,
) -> Activations:
    """Activations of a run, by path.

    Under `jax.jit` only the requested activations are computed; otherwise all of them are,
    recurrent states included.

    Args:
        model: Model that is run.
        params: Parameters of the model.
        batch: Documents; or tokens.
        sites: Paths or aliases of the sites that are returned; all if None.
        interventions: Interventions, as in `run`.

    Raises:
        UserError: If a site is unknown; see also `run`.
    """
    tokens = tokens_of(model, batch)
    activations = observe(model, params, tokens, interventions)[1]
    return activations if sites is None else at_sites(activations, sites)


def at_sites(activations: Activations, sites: str | Iterable[str]) -> Activations:
    """Activations at some sites only.

    Raises:
        UserError: If a site has no activation, or if there are no sites.
    """
    paths = (choose("site", path_of(site), activations) for site in listed(sites))
    return {path: activations[path] for path in paths}
