"""Running a model with its sites read or rewritten."""

from collections.abc import Iterable
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict

from mecheval_jax.array_types import Array, Float, Int, PyTree
from mecheval_jax.interventions.addresses import resolve_all
from mecheval_jax.models.language_model import LanguageModel, cast_to_compute_dtype
from mecheval_jax.sites import INTERVENTIONS, is_site
from mecheval_jax.tasks.base import Batch

Activations = dict[str, Any]
"""Nested by module: ``activations["block_1"]["mixer_output"]`` is [batch, length, ...]."""


def flatten(tree: Activations) -> dict[str, Array]:
    """Activations by path."""
    return flatten_dict(tree, sep="/")


def unflatten(flat: dict[str, Any]) -> dict[str, Any]:
    """Activations by path (or entries of interventions), nested again."""
    return unflatten_dict(flat, sep="/")


def run(
    model: LanguageModel,
    params: PyTree,
    batch: Batch | Int[Array, "batch length"],
    interventions: PyTree | None = None,
    positions: Int[Array, "batch queries"] | None = None,
    *,
    skip_unread: bool = False,
) -> Float[Array, "batch positions vocabulary"]:
    """Logits of a run, with activations replaced.

    Pure and traceable; check what a person wrote with `validate` first.

    Args:
        model: the model.
        params: its parameters.
        batch: documents, read at their queries; or tokens.
        interventions: what sites return instead of their live value; see `rewrites`.
        positions: where tokens are read; everywhere if None.
        skip_unread: as in `LanguageModel`.
    """
    tokens = batch.tokens if isinstance(batch, Batch) else batch
    if isinstance(batch, Batch) and positions is None:
        positions = batch.query_positions
    params = cast_to_compute_dtype(params, model.config)
    variables = {"params": params, INTERVENTIONS: interventions or {}}
    return model.apply(variables, tokens, positions, skip_unread=skip_unread)


def observe(
    model: LanguageModel,
    params: PyTree,
    tokens: Int[Array, "batch length"],
    interventions: PyTree | None = None,
    positions: Int[Array, "batch queries"] | None = None,
    *,
    skip_unread: bool = False,
) -> tuple[Float[Array, "batch positions vocabulary"], Activations]:
    """Logits and the activations at all sites, of one run; arguments as in `run`.

    With `skip_unread` the sites of the last layer from ``mixer_output`` on hold the
    `positions` alone.
    """
    logits, captured = model.apply(
        {"params": cast_to_compute_dtype(params, model.config), INTERVENTIONS: interventions or {}},
        tokens,
        positions,
        skip_unread=skip_unread,
        capture_intermediates=is_site,
        mutable=["intermediates"],
    )
    # Flax keeps a tuple with one value per call of the module; a site is called once.
    flat = {
        path.removesuffix("/__call__"): value
        for path, (value,) in flatten_dict(captured["intermediates"], sep="/").items()
    }
    return logits, unflatten(flat)


def capture_activations(
    model: LanguageModel,
    params: PyTree,
    tokens: Int[Array, "batch length"],
    sites: Iterable[str] | None = None,
    interventions: PyTree | None = None,
) -> Activations:
    """The activations at `sites` (all, if None), under `interventions` if there are any.

    Under `jax.jit` only those that are asked for are computed; outside it all are, recurrent
    states included.

    Raises:
        UserError: an unknown site.
    """
    activations = observe(model, params, tokens, interventions)[1]
    if sites is None:
        return activations
    flat = flatten(activations)
    return unflatten({path: flat[path] for path in resolve_all(sites, model.config)})
