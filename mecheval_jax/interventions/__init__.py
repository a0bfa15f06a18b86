"""Reading and rewriting the activations of a model, by pure functions.

    activations = capture(model, params, tokens)
    patch = interchange(activations, ["block_1/block_input"], positions)
    logits = run(model, params, batch, patch)

docs/interventions.md lists all interventions, with an example of each.
"""

from mecheval_jax.interventions.ablations import gaussian, mean, resample, zero
from mecheval_jax.interventions.addresses import resolve, site_paths
from mecheval_jax.interventions.capture import Activations, Interventions, capture, run
from mecheval_jax.interventions.checks import validate, validate_positions
from mecheval_jax.interventions.knockout import knockout_edges, knockout_heads
from mecheval_jax.interventions.patch import (
    compose,
    interchange,
    merge_disjoint,
    on_channels,
    pin,
    swap,
)
from mecheval_jax.interventions.paths import freeze, path_patch
from mecheval_jax.interventions.positions import Positions, inside, locate
from mecheval_jax.interventions.states import (
    erase_association,
    replace_association,
    write_association,
)
from mecheval_jax.interventions.subspaces import interchange_subspace, projection_onto, steer

__all__ = [
    "Activations",
    "Interventions",
    "Positions",
    "capture",
    "compose",
    "erase_association",
    "freeze",
    "gaussian",
    "inside",
    "interchange",
    "interchange_subspace",
    "knockout_edges",
    "knockout_heads",
    "locate",
    "mean",
    "merge_disjoint",
    "on_channels",
    "path_patch",
    "pin",
    "projection_onto",
    "replace_association",
    "resample",
    "resolve",
    "run",
    "site_paths",
    "steer",
    "swap",
    "validate",
    "validate_positions",
    "write_association",
    "zero",
]
