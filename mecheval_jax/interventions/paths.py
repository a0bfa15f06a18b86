"""Path patching: a change that reaches one site along one path alone.

The residual stream carries what every mixer and every feed-forward part writes. Hold all that
is written after the changed sites at its value in the base run (`freeze`): what then still
reaches a receiver came by the direct path, the residual stream from one to the other (Wang et
al. 2022, Goldowsky-Dill et al. 2023). Put that value in, with all else live (`path_patch`):
the effect is that of the one path. A path of several hops is a `path_patch` of a `path_patch`.

A site inside a mixer or before it changes what that mixer writes, which is then a part of the
path and not held; likewise ``mlp_input``. A changed site that is itself written is held where
it is not changed.
"""

from collections.abc import Iterable

from mecheval_jax.array_types import Array, Int, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.interventions.addresses import resolve, resolve_all, site_paths
from mecheval_jax.interventions.capture import Activations, Interventions, capture
from mecheval_jax.interventions.patch import compose, interchange, pin
from mecheval_jax.interventions.positions import Positions
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.site_path import SitePath

WRITERS = ("mixer_output", "mlp_output")
"""Components that are added to the residual stream."""


def freeze(
    base: Activations, config: ModelConfig, senders: Iterable[str], receiver: str
) -> Interventions:
    """Hold what is written from `senders` to `receiver` at its values in `base`.

    Args:
        base: activations of the run that is patched, at all sites or at least the written ones.
        config: shape of the model.
        senders: sites that will be changed; `compose` their changes after this.
        receiver: a later site.

    Raises:
        UserError: an unknown site, no sender, a receiver that is not later than all of them, or
            senders of which one reaches the receiver through another.
    """
    senders = senders if isinstance(senders, str) else tuple(senders)
    if not senders:
        raise UserError("no senders: nothing would be changed")
    senders, receiver = resolve_all(senders, config), resolve(receiver, config)
    order = {path: place for place, path in enumerate(site_paths(config))}
    for sender in senders:
        if order[sender] >= order[receiver]:
            raise UserError(f"no path from {sender} to {receiver}, which is computed before it")
        for other in senders:
            writer = _writer_of(other)
            # What lies before the receiver alone can carry anything to it.
            between = writer is not None and order[sender] < order[writer] < order[receiver]
            if between and _writer_of(sender) != writer:
                raise UserError(
                    f"{sender} reaches {receiver} through {writer} too, which {other} leaves free: "
                    "patch one path for each of them"
                )
    first = min(order[sender] for sender in senders)
    own = {_writer_of(sender) for sender in senders} - {None}
    held = [
        path
        for path, place in order.items()
        if SitePath.parse(path).component in WRITERS
        and first <= place < order[receiver]
        and path not in own
    ]
    return pin(base, held)


def _writer_of(site: str) -> str | None:
    """The component by which a site before it reaches the residual stream."""
    place = SitePath.parse(site)
    if place.in_mixer or place.component in ("mixer_input", "canon_output"):
        return SitePath(place.layer, "mixer_output").path
    return SitePath(place.layer, "mlp_output").path if place.component == "mlp_input" else None


def path_patch(
    model: LanguageModel,
    params: PyTree,
    tokens: Int[Array, "batch length"],
    base: Activations,
    patch: Interventions,
    receiver: str,
    positions: Positions = None,
) -> Interventions:
    """What `patch` does to `receiver` by the direct path, as an intervention on `receiver`.

    Runs the model once, under the patch with all else frozen; traceable.

    Args:
        model: the model.
        params: its parameters.
        tokens: the documents that are patched.
        base: their activations, at all sites.
        patch: interventions on earlier sites.
        receiver: the site at the path's end, or an alias.
        positions: of the receiver that take the new value; everywhere if None.

    Raises:
        UserError: an unknown site, a patch that is not earlier than the receiver, or senders that
            `freeze` refuses.
    """
    receiver = resolve(receiver, model.config)
    held = freeze(base, model.config, patch, receiver)
    reached = capture(model, params, tokens, [receiver], compose(held, patch))
    return interchange(reached, [receiver], positions)
