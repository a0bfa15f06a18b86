"""Strategies: what there is."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.training.ensemble.strategies import Strategy


def test_an_unknown_strategy():
    """Catches a typo that is taken for something."""
    with pytest.raises(UserError, match=r"'vmop'.*'vmap'"):
        Strategy("vmop")
