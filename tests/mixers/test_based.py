"""The linear attention of Based: its equation, and shapes that cannot be."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import Based
from tests.support import references
from tests.support.mixer_cases import BATCH, LENGTH, WIDTH, assert_gives, dense, in_float64


# Catches another expansion of the exponential, its wrong scale, and heads that are interleaved.
def test_against_its_twin():
    mixer, params, x = in_float64("based")
    q, k, v = (
        dense(x, params[f"proj_{name}"]).reshape(BATCH, LENGTH, mixer.heads, -1) for name in "qkv"
    )
    heads = references.taylor_attention(q, k, v).reshape(BATCH, LENGTH, WIDTH)
    assert_gives("based", dense(heads, params["proj_o"]))


# Catches a reshape that fails with a message about arrays where the config is at fault.
def test_shapes_that_do_not_divide():
    with pytest.raises(UserError, match=r"16.*\b3 heads"):
        Based(16, heads=3)


# Catches positions that turn nothing, so that the option does nothing.
def test_rotary_positions_turn_pairs():
    with pytest.raises(UserError, match=r"feature_width is 1: .* at least 2"):
        Based(16, feature_width=1, encoding="rotary")
    Based(16, feature_width=1)
