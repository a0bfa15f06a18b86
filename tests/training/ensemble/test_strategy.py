"""Strategies that cannot be."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.training.ensemble.strategy import Strategy


def test_an_unknown_strategy():
    """Catches a typo that is taken for something."""
    with pytest.raises(UserError, match=r"'vmop'.*'vmap'"):
        Strategy("vmop")


@pytest.mark.parametrize("count", [0, -1])
def test_members_at_once(count):
    """Catches a number of members that no device can compute."""
    with pytest.raises(UserError, match=f"members at once are {count}"):
        Strategy("vmap", count)
