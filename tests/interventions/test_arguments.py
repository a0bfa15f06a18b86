"""Names of sites that a run is given; `test_misuses` has what is wrong."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import capture, interchange, run, site_paths
from mecheval_jax.interventions.arguments import check_site
from mecheval_jax.models.language_model import ModelConfig


def test_every_site_of_a_model_is_known():
    """Catches a site that is refused, and one that is taken though no module has it."""
    layers = 2
    config = ModelConfig("attention,h3", layers, 16, 8, 8, canon=2, canon_at="ACD")
    for path in site_paths(config):
        check_site(path, config)
    for path in ("embeding", f"block_{layers}/block_input", "block_0/mixer/x_y", "block_0/q"):
        with pytest.raises(UserError, match=f"unknown site '{path}'"):
            check_site(path, config)


def test_entries_elsewhere_and_of_other_shapes(attention):
    """Catches a site that Flax passes over, and a value that is broadcast."""
    model, params, tokens = attention.model, attention.params, attention.tokens
    seen = capture(model, params, tokens, ["block_0/block_input"])
    patch = interchange(seen, ["block_0/block_input"])
    run(model, params, tokens, patch)
    with pytest.raises(UserError, match="did you mean 'block_0/block_input'"):
        run(model, params, tokens, {"block_0/block_inptu": patch["block_0/block_input"]})
    with pytest.raises(UserError, match="block_0/block_input: the value is"):
        capture(model, params, tokens[:2], interventions=patch)
