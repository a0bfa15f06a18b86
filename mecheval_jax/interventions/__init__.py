"""Look into a model and cut into it: pure functions on pytrees of activations.

activations = capture_activations(model, params, tokens)
patch = interchange(activations, ["block_1/block_input"], positions)
logits = run(model, params, batch, patch)
"""

from mecheval_jax.interventions.addresses import resolve, site_paths
from mecheval_jax.interventions.capture import Activations, capture_activations, run
from mecheval_jax.interventions.rewrites import Interventions, combine, interchange, pin, zero
from mecheval_jax.interventions.validate import validate, validate_positions

__all__ = [
    "Activations",
    "Interventions",
    "capture_activations",
    "combine",
    "interchange",
    "pin",
    "resolve",
    "run",
    "site_paths",
    "validate",
    "validate_positions",
    "zero",
]
