"""Path patching: the effect of a change along one path.

Mixers and feed-forward parts add their outputs to the residual stream. If all outputs after the
changed sites, the senders, are held at their values in the base run (`freeze`), a change reaches
a later site, the receiver, only by the direct path: the residual stream between the two. (What the
first layer hands on past the stream, as in RWKV-7, is held where it is read.) The value that the
receiver then has is put into a run whose other sites are live (`path_patch`); the effect on that
run is the effect of the path. For a path of several hops, `path_patch` is applied to the result of
another `path_patch` (Wang et al. 2022, Goldowsky-Dill et al. 2023).

A sender inside a mixer or before it changes the output of that mixer, which belongs to the path
and is not held; the same holds for ``mlp_input`` and what follows it. A sender that is itself an
output is held at those positions at which it is not changed.
"""

import itertools
from collections.abc import Iterable

from mecheval_jax.array_types import Array, Int, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.interventions.addresses import resolve, resolve_all, site_paths
from mecheval_jax.interventions.capture import Activations, Interventions, capture, handed_on
from mecheval_jax.interventions.patch import compose, interchange, pin
from mecheval_jax.interventions.positions import Positions
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.site_path import SitePath

WRITERS = ("mixer_output", "mlp_output")
"""Components that are added to the residual stream."""


def freeze(
    base: Activations, config: ModelConfig, senders: Iterable[str], receiver: str
) -> Interventions:
    """Hold all outputs between `senders` and `receiver` at their values in `base`.

    Args:
        base: Activations of the run that is patched, at least of `WRITERS` and, where there are
            any, of the sites in `capture.handed_on`.
        config: Shape of the model.
        senders: Sites that will be changed; `compose` the changes after this.
        receiver: Site at the end of the path.

    Raises:
        UserError: If a site is unknown, `base` lacks one, there is no sender, the receiver is not
            computed after all senders, or one sender reaches the receiver through the mixer of
            another.
    """
    senders = senders if isinstance(senders, str) else tuple(senders)
    if not senders:
        raise UserError("no senders: nothing would be changed")
    senders, receiver = resolve_all(senders, config), resolve(receiver, config)
    order = {path: place for place, path in enumerate(site_paths(config))}
    # Refuse senders that have no direct path of their own.
    for sender in senders:
        if order[sender] >= order[receiver]:
            raise UserError(f"no path from {sender} to {receiver}, which is computed before it")
        for other in senders:
            writer = _writer_of(other)
            # Only outputs before the receiver can carry a change to it.
            between = writer is not None and order[sender] < order[writer] < order[receiver]
            if between and _writer_of(sender) != writer:
                raise UserError(
                    f"{sender} reaches {receiver} through {writer} too, which {other} leaves free: "
                    "patch one path for each of them"
                )
    # Hold the outputs that lie between the two ends and do not belong to a path.
    first = min(order[sender] for sender in senders)
    own = {_writer_of(sender) for sender in senders} - {None}
    held = [
        path
        for path, place in order.items()
        if SitePath.parse(path).component in WRITERS
        and first <= place < order[receiver]
        and path not in own
    ]
    last = SitePath.parse(receiver).layer
    layers = range(config.layers if last is None else last + 1)
    past = itertools.chain.from_iterable(handed_on(config, layer) for layer in layers)
    held += [path for path in past if path not in (receiver, *senders)]
    if lacking := [path for path in held if path not in base]:
        raise UserError(f"the base run has no {lacking[0]}: capture it without choosing sites")
    return pin(base, held)


def _writer_of(site: str) -> str | None:
    """The output through which a site inside or before a mixer or MLP reaches the stream."""
    place = SitePath.parse(site)
    if place.in_mixer or place.component in ("mixer_input", "canon_output"):
        return SitePath(place.layer, "mixer_output").path
    before_output = place.component in ("mlp_input", "mlp_canon_output", "hidden_canon_output")
    return SitePath(place.layer, "mlp_output").path if before_output else None


def path_patch(
    model: LanguageModel,
    params: PyTree,
    tokens: Int[Array, "batch length"],
    patch: Interventions,
    receiver: str,
    positions: Positions = None,
) -> Interventions:
    """The effect of `patch` along the direct path, as an intervention on `receiver`.

    Runs the model twice: as it is, and under the patch with all other outputs frozen as they were.
    Traceable.

    Args:
        model: Model that is run.
        params: Parameters of the model.
        tokens: Documents that are patched.
        patch: Interventions on the senders.
        receiver: Path or alias of the site at the end of the path.
        positions: Positions at which the receiver takes the new value; all if None.

    Raises:
        UserError: If `freeze` refuses the senders or the receiver.
    """
    receiver = resolve(receiver, model.config)
    base = capture(model, params, tokens)
    held = freeze(base, model.config, patch, receiver)
    reached = capture(model, params, tokens, [receiver], compose(held, patch))
    return interchange(reached, [receiver], positions)
