"""Times in turn, and the ratio to the best of the others."""

import sys

import pytest

from mecheval_jax.benchmarks import against
from mecheval_jax.errors import UserError


# Catches a ratio against the slower variant, which flatters.
def test_the_fastest_variant_is_the_baseline():
    times = {against.OURS: (1.0, 2.0), "eager": (5.0, 5.0), "compiled": (3.0, 4.0)}
    *_, found = against.compared("mamba", times)
    assert found.quantity == "ratio to the best"
    assert found.values == (3, 2)


# Catches a traceback where the optional package is absent.
def test_torch_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match="pip install torch"):
        against.check_torch()
