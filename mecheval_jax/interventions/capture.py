"""Running a model with its sites read or rewritten.

Activations and interventions are flat here and everywhere else: one array, or one entry, by
path. Only Flax sees them nested by module, inside this file.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict

from mecheval_jax.array_types import Array, Float, Int, PyTree
from mecheval_jax.errors import UserError, choose
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.site_path import SitePath
from mecheval_jax.sites import INTERVENTIONS, Entry, is_site
from mecheval_jax.tasks.base import Batch

Activations = dict[str, Array]
"""Path of a site -> its activation, [batch, length, ...]."""

Interventions = dict[str, Entry]
"""Path of a site -> what it does to its activation (`sites.Entry`)."""


def run(
    model: LanguageModel,
    params: PyTree,
    batch: Batch | Int[Array, "batch length"],
    interventions: Interventions | None = None,
    positions: Int[Array, "batch queries"] | None = None,
    *,
    skip_unread: bool = False,
) -> Float[Array, "batch positions vocabulary"]:
    """Logits of a run, with activations replaced.

    Pure and traceable; check what a person wrote with `validate` first.

    Args:
        model: Model that is run.
        params: Its parameters.
        batch: Documents, read at their queries; or tokens.
        interventions: What sites return instead of their live value; see `patch`.
        positions: Where tokens are read; everywhere if None.
        skip_unread: As in `LanguageModel`.
    """
    tokens = batch.tokens if isinstance(batch, Batch) else batch
    if isinstance(batch, Batch) and positions is None:
        positions = batch.query_positions
    variables = {"params": params, INTERVENTIONS: nested(interventions or {})}
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
    """Logits and the activations at all sites, of one run; arguments as in `run`.

    With `skip_unread` the sites of the last layer from ``mixer_output`` on hold the
    `positions` alone.
    """
    return _observe(model, params, interventions, tokens, positions, skip_unread=skip_unread)


def observe_block(
    model: LanguageModel,
    params: PyTree,
    layer: int,
    residual: Float[Array, "batch length width"],
    interventions: Interventions | None = None,
    positions: Int[Array, "batch queries"] | None = None,
) -> Activations:
    """The activations at the sites of one block that reads a residual stream of its own.

    Args:
        model: Model whose block it is.
        params: Parameters of the whole model.
        layer: Index of the block.
        residual: What the block reads.
        interventions: As in `run`.
        positions: Where all from the mixer's output on is computed; everywhere if None.
    """

    def block(model: LanguageModel, residual: Array, positions: Array | None) -> Array:
        return model.block[layer](residual, positions)

    return _observe(model, params, interventions, residual, positions, method=block)[1]


def _observe(
    model: LanguageModel,
    params: PyTree,
    interventions: Interventions | None,
    *arguments: Array | None,
    **options: Any,
) -> tuple[Array, Activations]:
    result, captured = model.apply(
        {"params": params, INTERVENTIONS: nested(interventions or {})},
        *arguments,
        capture_intermediates=is_site,
        mutable=["intermediates"],
        **options,
    )
    # Flax keeps a tuple with one value per call of the module; a site is called once.
    flat = flatten_dict(captured["intermediates"], sep="/")
    return result, {path.removesuffix("/__call__"): value for path, (value,) in flat.items()}


def nested(interventions: Mapping[str, Entry]) -> dict[str, Any]:
    """Interventions as the modules of a model find them."""
    return unflatten_dict(by_path(interventions), sep="/")


def by_path(interventions: Mapping[str, Entry]) -> Interventions:
    """Interventions whose sites may have the names of other tools, by path.

    Raises:
        UserError: Two names of one site.
    """
    entries = {SitePath.parse(address).path: entry for address, entry in interventions.items()}
    if len(entries) < len(interventions):
        raise UserError(f"{', '.join(interventions)}: two of these are one site")
    return entries


def capture(
    model: LanguageModel,
    params: PyTree,
    tokens: Int[Array, "batch length"],
    sites: str | Iterable[str] | None = None,
    interventions: Interventions | None = None,
) -> Activations:
    """The activations at `sites` (all, if None), under `interventions` if there are any.

    Under `jax.jit` only those that are asked for are computed; outside it all are, recurrent
    states included.

    Raises:
        UserError: An unknown site.
    """
    activations = observe(model, params, tokens, interventions)[1]
    return activations if sites is None else at_sites(activations, sites)


def at_sites(activations: Activations, sites: str | Iterable[str]) -> Activations:
    """The activations at some sites alone.

    Raises:
        UserError: A site that is not among them, or no site.
    """
    paths = (choose("site", SitePath.parse(site).path, activations) for site in listed(sites))
    return {path: activations[path] for path in paths}


def listed(sites: str | Iterable[str]) -> tuple[str, ...]:
    """Sites as a tuple; a name alone is one site, not a list of letters.

    Raises:
        UserError: No site.
    """
    found = (sites,) if isinstance(sites, str) else tuple(sites)
    if not found:
        raise UserError("no sites: name at least one")
    return found
